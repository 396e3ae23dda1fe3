// Guards a form that has been changed and not been saved.
import { guardUnsaved } from "./unsaved.js";

const form = document.querySelector("[data-unsaved]");
const setUnsaved = guardUnsaved(form.dataset.unsaved);
const isChanged = (field) =>
  "defaultValue" in field && (field.value !== field.defaultValue || field.checked !== field.defaultChecked);
form.addEventListener("input", () => setUnsaved(true));
form.addEventListener("submit", () => setUnsaved(false));
// People type before this script is there, too.
setUnsaved("changed" in form.dataset || [...form.elements].some(isChanged));
