// Opens the box that a button asks in as a modal dialog. Without this it is a popover, which does not hold the focus.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[popovertarget]");
  if (!button) {
    return;
  }
  event.preventDefault();
  const dialog = document.getElementById(button.getAttribute("popovertarget"));
  dialog.hidePopover?.(); // people open it before this script is there, too
  if (button.getAttribute("popovertargetaction") === "hide") {
    dialog.close();
  } else {
    open(dialog, button);
  }
});

function open(dialog, button) {
  button.focus(); // where closing brings it back to; Safari does not focus what is clicked
  dialog.showModal();
  dialog.querySelector("[data-focus-when-open]").focus();
}

// In a frame, the browser's own Tab goes on to the page around it.
document.addEventListener("keydown", (event) => {
  const dialog = document.querySelector("dialog[open]");
  if (!dialog || event.key !== "Tab") {
    return;
  }
  event.preventDefault();
  const stops = [...dialog.querySelectorAll("button")];
  const step = event.shiftKey ? -1 : 1;
  stops.at((stops.indexOf(document.activeElement) + step) % stops.length).focus();
});
