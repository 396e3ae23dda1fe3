// Shows that a score has reached the gradebook, or why not, without a reload that would take what is being typed.
import { rest } from "./rest.js";
import { showTimes } from "./times.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 300000;
const status = document.querySelector("[data-grade-status]");

async function readStatus() {
  const response = await fetch(status.dataset.gradeStatus);
  const page = new DOMParser().parseFromString(response.ok ? await response.text() : "", "text/html");
  return page.querySelector("[data-grade-status]");
}

let fresh = null;
for (let pause = FIRST_PAUSE; !fresh || "waiting" in fresh.dataset; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
  await rest(pause);
  fresh = await readStatus().catch(() => null);
  if (!fresh) {
    continue;
  }
  showTimes(fresh);
  if (fresh.textContent !== status.textContent) {
    status.replaceChildren(...fresh.children);
  }
}
