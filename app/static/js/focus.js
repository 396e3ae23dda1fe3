// Moves the focus to what has just appeared: a mistake, or what a form has led to. (autofocus is blocked in cross-site
// frames.) And keeps it where a change of the page would lose it.
import "./dialogs.js";

// The place on the page that its address names.
export const place = document.getElementById(location.hash.slice(1));

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

// What the tool says of what was done. No page says it twice, so that ordinary visits leave the focus where it is.
function flash() {
  const message = document.querySelector("main > .alert[role=status]");
  message?.setAttribute("tabindex", "-1");
  return message;
}

[document.querySelector("[data-focus]"), place, flash()].some(takesFocus);
