// Moves the focus to what has just appeared: a summary of mistakes. (autofocus is blocked in cross-site frames.) And keeps
// it where a change of the page would lose it.
import "./dialogs.js";

// Runs a change that returns what is new. Where it takes away what has the focus, its like there gets it, or the first
// of `others` that can.
export function keepingFocus(change, ...others) {
  const before = document.activeElement;
  const fresh = change();
  if (!before.getClientRects().length) {
    const like = [...fresh.querySelectorAll(before.localName)].find((each) => each.isEqualNode(before));
    [like, ...others].some(takesFocus);
  }
  return fresh;
}

function takesFocus(element) {
  element?.focus();
  return element === document.activeElement;
}

document.querySelector("[data-focus]")?.focus();
