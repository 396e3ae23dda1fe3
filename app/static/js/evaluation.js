// Shows an evaluation once it is written, without a reload that would take what is being typed.
import { keepingFocus } from "./focus.js";
import { rest } from "./rest.js";
import { showTimes } from "./times.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;
let section = document.querySelector("[data-evaluation]");

async function readEvaluation() {
  const response = await fetch(section.dataset.evaluation);
  const page = new DOMParser().parseFromString(response.ok ? await response.text() : "", "text/html");
  return page.querySelector("[data-evaluation]");
}

for (let pause = FIRST_PAUSE; "underWay" in section.dataset; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
  await rest(pause);
  const fresh = await readEvaluation().catch(() => null);
  if (fresh && !("underWay" in fresh.dataset)) {
    showTimes(fresh);
    const former = section;
    section = fresh;
    keepingFocus(() => {
      former.replaceWith(fresh);
      return fresh;
    }, fresh);
  }
}
