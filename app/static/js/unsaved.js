// Asks before what was typed is lost: the browser in this frame, Canvas around it (lti.setUnloadMessage).
const form = document.querySelector("[data-unsaved]");
let unsaved = false;

function tellPlatform(subject) {
  window.parent.postMessage({ subject, message: form.dataset.unsaved }, "*");
}

function setUnsaved(value) {
  if (value !== unsaved) {
    unsaved = value;
    tellPlatform(value ? "lti.setUnloadMessage" : "lti.removeUnloadMessage");
  }
}

form.addEventListener("input", () => setUnsaved(true));
form.addEventListener("submit", () => setUnsaved(false));
window.addEventListener("beforeunload", (event) => {
  if (unsaved) {
    event.preventDefault();
  }
});
window.addEventListener("pagehide", () => setUnsaved(false));
setUnsaved("changed" in form.dataset);
