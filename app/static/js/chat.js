// Sends messages and shows replies as they are written. The server stores everything; this only shows it.
import { readEvents } from "./events.js";
import { guardUnsaved } from "./unsaved.js";

const RECONNECTS = 5;
const RECONNECT_PAUSE = 1500;
const COUNT_FROM = 500;
const NEAR_END = 40;

const chat = document.querySelector("[data-chat]");
const log = chat.querySelector("[data-log]");
const messages = chat.querySelector("[data-messages]");
const composer = chat.querySelector("[data-composer]");
const texts = chat.dataset;
const csrfToken = document.querySelector('meta[name="csrf-token"]').content;
const draft = draftStore(`draft-${texts.conversation}`);
const setUnsent = guardUnsaved(texts.unsent);
let busy = false;

class NotSent extends Error {}

function draftStore(key) {
  // A browser that blocks third-party cookies forbids storage in a frame: then a draft lives in its box alone.
  const attempt = (action) => {
    try {
      return action();
    } catch {
      return null;
    }
  };
  return {
    available: attempt(() => Boolean(sessionStorage)) ?? false,
    keep: (value) => attempt(() => sessionStorage.setItem(key, JSON.stringify(value))),
    read: () => attempt(() => JSON.parse(sessionStorage.getItem(key))),
    forget: () => attempt(() => sessionStorage.removeItem(key)),
  };
}

function fill(text, count) {
  return text.replace("{count}", count);
}

function addMessage(speaker, text) {
  const item = document.createElement("li");
  item.className = `message message-${speaker}`;
  item.dataset.testid = `message-${speaker}`;
  item.innerHTML =
    '<div class="message-head"><span class="message-who"></span></div>' +
    '<div class="message-body"><p class="as-typed"></p></div>';
  item.querySelector(".message-who").textContent = speaker === "student" ? texts.you : texts.persona;
  item.querySelector(".as-typed").textContent = text;
  messages.append(item);
  scrollToEnd();
  return item;
}

function scrollToEnd() {
  log.scrollTop = log.scrollHeight;
}

// Runs a change of the log, and follows its end only for a reader who is there already.
function keepingEnd(change) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
  change();
  if (atEnd) {
    scrollToEnd();
  }
}

// Gives the focus back to the box where a button took it along; never takes it from where somebody is.
function refocus() {
  if (document.activeElement === document.body) {
    composer?.elements.message.focus();
  }
}

function setBusy(value) {
  busy = value;
  log.setAttribute("aria-busy", String(value));
  composer?.querySelector("button").toggleAttribute("disabled", value);
}

function startReply(item) {
  item.querySelector(".message-failure")?.remove();
  item.dataset.state = "generating";
  const body = item.querySelector(".message-body");
  body.innerHTML = '<p class="as-typed"></p><p class="writing"></p>';
  body.querySelector(".writing").textContent = texts.writing;
  return body.querySelector(".as-typed");
}

function endReply(item, reply) {
  item.dataset.state = reply.state;
  item.dataset.message = reply.id;
  const body = item.querySelector(".message-body");
  if (reply.state === "complete") {
    body.innerHTML = reply.html; // rendered and cleaned by the server
    if (reply.scripted) {
      labelAsScripted(item);
    }
  } else {
    body.textContent = "";
    showFailure(item, reply);
  }
}

function labelAsScripted(item) {
  const label = document.createElement("span");
  label.className = "message-model";
  label.textContent = texts.scripted;
  item.querySelector(".message-head").append(label);
}

function showFailure(item, reply) {
  const failure = chat.querySelector("[data-failure-template]").content.cloneNode(true);
  failure.querySelector("p").textContent = reply.message;
  const form = failure.querySelector("form");
  if (form) {
    form.dataset.retry = reply.id;
    form.action = at(texts.retryUrl, reply.id);
  }
  item.append(failure);
}

function at(url, replyId) {
  return url.replace("/messages/0/", `/messages/${replyId}/`);
}

function request(url, body) {
  return fetch(url, {
    method: body ? "POST" : "GET",
    body,
    headers: { Accept: "text/event-stream", "X-CSRFToken": csrfToken },
  });
}

// Reads one reply to its end, through as many connections as it takes. `onStored` runs once the server has it all.
async function showReply(item, url, body, onStored = () => {}) {
  setBusy(true);
  let replyId = null;
  try {
    for (let attempt = 0; attempt <= RECONNECTS; attempt += 1) {
      try {
        const response = await request(replyId ? at(texts.replyUrl, replyId) : url, body);
        if (!response.ok) {
          throw new NotSent((await response.json()).error);
        }
        const shown = startReply(item);
        for await (const { name, data } of readEvents(response.body)) {
          if (name === "reply") {
            replyId = data.id;
            body = null;
            onStored();
          } else if (name === "text") {
            keepingEnd(() => {
              shown.textContent += data.text;
            });
          } else if (name === "done") {
            keepingEnd(() => endReply(item, data));
            return;
          }
        }
      } catch (error) {
        if (error instanceof NotSent || !replyId) {
          throw error;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE * (attempt + 1)));
    }
    throw new NotSent(texts.lost);
  } finally {
    setBusy(false);
  }
}

async function send() {
  const box = composer.elements.message;
  const text = box.value.trim();
  if (!text) {
    return;
  }
  if (busy) {
    note(texts.wait);
    return;
  }
  if (roomLeft() < 0) {
    note(fill(texts.over, -roomLeft()));
    return;
  }
  const key = keepDraft(text);
  note("");
  const mine = addMessage("student", text);
  const reply = addMessage("persona", "");
  box.value = "";
  box.focus();
  boxChanged();
  const body = new FormData();
  body.set("message", text);
  body.set("client_key", key);
  let stored = false;
  try {
    await showReply(reply, texts.sendUrl, body, () => {
      stored = true;
      chat.querySelector("[data-finish]").hidden = false;
      if (draft.read()?.key === key) {
        draft.forget();
      }
    });
  } catch (error) {
    reply.remove();
    if (stored) {
      note(texts.lost);
    } else {
      mine.remove();
      box.value = box.value ? `${text}\n${box.value}` : text;
      boxChanged();
      note(error instanceof NotSent && error.message ? error.message : texts.notSent);
    }
  }
  refocus();
}

// Keeps what is written until the server has it, with the key that makes sending it twice one message.
function keepDraft(text) {
  const kept = draft.read();
  const key = kept?.text === text ? kept.key : crypto.randomUUID();
  draft.keep({ text, key });
  return key;
}

async function retry(form) {
  const item = form.closest(".message");
  if (busy) {
    return;
  }
  try {
    await showReply(item, form.action, new FormData(form));
  } catch (error) {
    note(error instanceof NotSent && error.message ? error.message : texts.unreachable);
  }
  refocus();
}

function note(text) {
  if (composer) {
    composer.querySelector("[data-note]").textContent = text;
  }
}

function roomLeft() {
  return Number(texts.limit) - [...composer.elements.message.value.trim()].length;
}

function boxChanged() {
  setUnsent(!draft.available && Boolean(composer.elements.message.value.trim()));
  const left = roomLeft();
  const count = composer.querySelector("[data-count]");
  count.textContent = left < 0 ? fill(texts.over, -left) : left < COUNT_FROM ? fill(texts.left, left) : "";
  count.classList.toggle("text-danger", left < 0);
}

function resume() {
  const item = messages.querySelector('.message-persona[data-state="generating"]');
  if (item) {
    showReply(item, at(texts.replyUrl, item.dataset.message)).catch(() => note(texts.lost));
  }
}

if (composer) {
  const box = composer.elements.message;
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  box.addEventListener("input", () => {
    note("");
    boxChanged();
    const text = box.value.trim();
    if (text) {
      keepDraft(text);
    } else {
      draft.forget();
    }
  });
  const kept = draft.read();
  if (kept && messages.querySelector(`[data-key="${kept.key}"]`)) {
    draft.forget(); // it arrived, only its acknowledgement was lost
  } else if (kept && !box.value) {
    box.value = kept.text;
    boxChanged();
  }
}
messages.addEventListener("submit", (event) => {
  if (event.target.dataset.retry) {
    event.preventDefault();
    retry(event.target);
  }
});
if (matchMedia("(width < 48rem)").matches) {
  document.querySelector("[data-about]").open = false; // a phone shows the conversation first
}
scrollToEnd();
resume();
