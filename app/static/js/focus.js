// Moves the focus to what has just appeared: a summary of mistakes, a dialog. (autofocus is blocked in cross-site frames.)
document.querySelector("[data-focus]")?.focus();
for (const dialog of document.querySelectorAll("[popover]")) {
  dialog.addEventListener("toggle", ({ newState }) => {
    if (newState === "open") {
      dialog.querySelector("[data-focus-when-open]")?.focus();
    }
  });
}
