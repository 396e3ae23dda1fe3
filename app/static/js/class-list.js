// Puts the class in its place once the platform's list has been read; until then the page shows what was known.
import { keepingFocus } from "./focus.js";
import { showTimes } from "./times.js";

const PAUSE = 1000;
const TRIES = 120; // each waits two seconds at the server

const section = document.querySelector("[data-class-list][data-reading]");

async function readClass(url) {
  const response = await fetch(url);
  const page = new DOMParser().parseFromString(response.ok ? await response.text() : "", "text/html");
  return page.querySelector("[data-class-list]:not([data-reading])");
}

async function waitForClass() {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const fresh = await readClass(section.dataset.classList).catch(() => null);
    if (fresh) {
      showTimes(fresh);
      keepingFocus(() => {
        section.replaceChildren(...fresh.children);
        section.removeAttribute("data-reading");
        return section;
      });
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
  }
}

if (section) {
  waitForClass();
}
