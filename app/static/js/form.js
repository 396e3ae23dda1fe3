// Guards a form that has been changed and not been saved.
import { guardUnsaved } from "./unsaved.js";

const form = document.querySelector("[data-unsaved]");
const setUnsaved = guardUnsaved(form.dataset.unsaved);
form.addEventListener("input", () => setUnsaved(true));
form.addEventListener("submit", () => setUnsaved(false));
setUnsaved("changed" in form.dataset);
