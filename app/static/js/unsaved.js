// Asks before what was typed is lost: the browser in this frame, Canvas around it (lti.setUnloadMessage).
export function guardUnsaved(message) {
  let unsaved = false;
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) {
      event.preventDefault();
    }
  });
  const setUnsaved = (value) => {
    if (value !== unsaved) {
      unsaved = value;
      const subject = value ? "lti.setUnloadMessage" : "lti.removeUnloadMessage";
      window.parent.postMessage({ subject, message }, "*");
    }
  };
  window.addEventListener("pagehide", () => setUnsaved(false));
  return setUnsaved;
}
