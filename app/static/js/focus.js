// Moves the focus to what has just appeared: a summary of mistakes, a dialog. (autofocus is blocked in cross-site frames.)
export function watchDialogs(root) {
  for (const dialog of root.querySelectorAll("[popover]")) {
    dialog.addEventListener("toggle", ({ newState }) => {
      if (newState === "open") {
        dialog.querySelector("[data-focus-when-open]")?.focus();
      }
    });
  }
}

document.querySelector("[data-focus]")?.focus();
watchDialogs(document);
