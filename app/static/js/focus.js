// Moves the focus to what has just appeared: a summary of mistakes. (autofocus is blocked in cross-site frames.)
import "./dialogs.js";

document.querySelector("[data-focus]")?.focus();
