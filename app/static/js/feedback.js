// Sends likes and dislikes of replies without leaving the page; without this, their forms do the same.
import { sentenceOf } from "./errors.js";

const unreachable = document.querySelector("[data-chat]").dataset.unreachable;

async function send(block, form, button) {
  const body = new FormData(form);
  if (button?.name) {
    body.set(button.name, button.value);
  }
  const response = await fetch(form.action, {
    method: "POST",
    body,
    headers: { Accept: "application/json" },
  });
  const answer = await response.json();
  if (!response.ok) {
    throw new Error(sentenceOf(response, answer));
  }
  const holder = document.createElement("div");
  holder.innerHTML = answer.html; // rendered by the server
  const fresh = holder.firstElementChild;
  block.replaceWith(fresh);
  const notice = fresh.querySelector("[data-notice]");
  if (notice) {
    notice.tabIndex = -1; // read out, and in sight
    notice.focus();
    return;
  }
  fresh.querySelector(`[data-control="${button?.dataset.control}"]`)?.focus();
  fresh.querySelector("[data-reason]")?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("submit", async (event) => {
  const block = event.target.closest("[data-feedback]");
  if (!block) {
    return;
  }
  event.preventDefault();
  if ("sending" in block.dataset) {
    return;
  }
  block.dataset.sending = "";
  try {
    await send(block, event.target, event.submitter);
  } catch (error) {
    const known = error instanceof TypeError || error instanceof SyntaxError ? "" : error.message;
    block.querySelector("[data-feedback-note]").textContent = known || unreachable;
  } finally {
    delete block.dataset.sending;
  }
});
