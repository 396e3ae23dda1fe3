// Sends messages and shows replies as they are written. The server stores everything; this only shows it.
import { draftStore } from "./draft.js";
import { sentenceOf } from "./errors.js";
import { readEvents } from "./events.js";
import { keepingFocus, place } from "./focus.js";
import { keepInStep } from "./sync.js";
import { showTimes } from "./times.js";
import { takeTurn } from "./turns.js";
import { guardUnsaved } from "./unsaved.js";

const RECONNECTS = 5;
const RECONNECT_PAUSE = 1500;
const COUNT_FROM = 500;
const NEAR_END = 40;
const NEAR_TOP = 4;

const chat = document.querySelector("[data-chat]");
const log = chat.querySelector("[data-log]");
const messages = chat.querySelector("[data-messages]");
const composer = chat.querySelector("[data-composer]");
const texts = chat.dataset;
const csrfToken = document.querySelector('meta[name="csrf-token"]').content;
const onTouch = matchMedia("(pointer: coarse)"); // its keyboard has no Shift+Enter
const draft = draftStore(texts.conversation);
const setUnsent = guardUnsaved(texts.unsent);
let busy = 0; // replies that are being read
let waitsForReply = false; // what is noted holds until then
let unanswered = null; // what was given back to the box, and may have arrived all the same

class NotSent extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

function fill(text, count) {
  return text.replace("{count}", count);
}

// What the page shows of a message until the server's own form of it arrives.
function addMessage(speaker, text, key) {
  const item = document.createElement("li");
  item.className = `message message-${speaker}`;
  item.dataset.testid = `message-${speaker}`;
  item.innerHTML =
    '<div class="message-head"><span class="message-who"></span></div>' +
    '<div class="message-body"><p class="as-typed"></p></div>';
  item.querySelector(".message-who").textContent = speaker === "student" ? texts.you : texts.persona;
  item.querySelector(".as-typed").textContent = text;
  if (key) {
    item.dataset.key = key;
  }
  messages.append(item);
  scrollToEnd();
  return item;
}

// What the tool itself says about the student's last message.
function newestNotice() {
  return [...messages.querySelectorAll(".message-student")].at(-1)?.querySelector("[data-notice]");
}

function topInLog(element) {
  return element.getBoundingClientRect().top - log.getBoundingClientRect().top;
}

// Goes to the end, but not past a notice whose beginning the reader sees.
function scrollToEnd() {
  const notice = newestNotice();
  const inSight = notice && topInLog(notice) > -NEAR_TOP;
  log.scrollTop = log.scrollHeight;
  if (inSight) {
    log.scrollTop += Math.min(0, topInLog(notice));
  }
}

// Runs a change of the log, and follows its end only for a reader who is there already. A new notice is shown to all.
function keepingEnd(change) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
  const before = newestNotice();
  const result = change();
  const notice = newestNotice();
  if (notice && notice !== before) {
    log.scrollTop += topInLog(notice);
  } else if (atEnd) {
    scrollToEnd();
  }
  return result;
}

// Runs a change of what is shown. A button that goes leaves the focus to the box, or to the messages where there is none.
function keepingPlace(change) {
  return keepingFocus(() => keepingEnd(change), composer?.elements.message, log);
}

function addBusy(change) {
  busy += change;
  log.setAttribute("aria-busy", String(busy > 0));
}

// Puts the server's form of a message (rendered and cleaned there) in the place of what is shown.
function replaceItem(item, html) {
  return keepingPlace(() => {
    const holder = document.createElement("ol");
    holder.innerHTML = html;
    const fresh = holder.firstElementChild;
    item.replaceWith(fresh);
    return fresh;
  });
}

// Puts what the tool itself says below the message that it is about.
function showNotice({ message, key, html }) {
  const item = messages.querySelector(`[data-message="${message}"], [data-key="${CSS.escape(key)}"]`);
  if (item && !item.querySelector("[data-notice]")) {
    keepingEnd(() => item.insertAdjacentHTML("beforeend", html));
  }
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

async function refusal(response) {
  const answer = await response.json();
  return new NotSent(sentenceOf(response, answer), answer.code);
}

// Reads one reply to its end, through as many connections as it takes. `onStored` runs once the server has it all.
async function showReply(item, url, body, onStored = () => {}) {
  addBusy(1);
  let replyId = null;
  let shown = item;
  let noticed = false;
  try {
    for (let attempt = 0; attempt <= RECONNECTS; attempt += 1) {
      try {
        const response = await request(replyId ? at(texts.replyUrl, replyId) : url, body);
        if (!response.ok) {
          throw await refusal(response);
        }
        for await (const { name, data } of readEvents(response.body)) {
          if (name === "reply") {
            shown = replaceItem(shown, data.html);
            shown.querySelector("[data-growing]")?.replaceChildren(); // the text comes whole
            if (!replyId) {
              dropNote();
            }
            replyId = data.id;
            body = null;
            onStored();
          } else if (name === "notice") {
            showNotice(data);
            noticed = true;
          } else if (name === "text") {
            keepingEnd(() => shown.querySelector("[data-growing]")?.append(data.text));
          } else if (name === "done") {
            replaceItem(shown, data.html);
            // A message of danger is taken whatever was said since, which this page may not show yet.
            texts.version = noticed ? "" : data.version;
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
    addBusy(-1);
    if (!busy && waitsForReply) {
      note("");
    }
    step.tellOthers();
  }
}

// The newest message that is shown here: the server takes none that was written without having seen another's.
function seen() {
  return Math.max(0, ...[...messages.querySelectorAll("[data-message]")].map((item) => item.dataset.message));
}

// Puts a text back into its box, before what was typed since.
function giveBack(text) {
  const box = composer.elements.message;
  box.value = box.value ? `${text}\n${box.value}` : text;
  boxChanged();
}

// Empties the box of a text that had arrived: only the answer to it was lost.
function takeBack() {
  const { key, text } = unanswered ?? {};
  const box = composer?.elements.message;
  if (key && messages.querySelector(`[data-key="${key}"]`) && box.value.trim() === text) {
    box.value = "";
    unanswered = null;
    draft.forget();
    note("");
    boxChanged();
  }
}

// The server refuses what cannot be taken now: it alone knows whether a message must not wait.
async function send() {
  const box = composer.elements.message;
  const text = box.value.trim();
  if (!text || box.readOnly) {
    return;
  }
  unanswered = null;
  const isTooLong = roomLeft() < 0;
  const key = draft.keep(text);
  note("");
  const body = new FormData();
  body.set("message", text);
  body.set("client_key", key);
  body.set("seen", seen());
  const mine = addMessage("student", text, key);
  const reply = addMessage("persona", "");
  reply.querySelector(".as-typed").className = "writing";
  reply.querySelector(".writing").textContent = texts.writing;
  box.value = "";
  box.focus();
  boxChanged();
  let stored = false;
  try {
    await showReply(reply, texts.sendUrl, body, () => {
      if (!stored) {
        takeTurn(composer);
        if (isTooLong) {
          giveBack(text); // only a part of it was taken
        }
      }
      stored = true;
      chat.querySelector("[data-finish]")?.removeAttribute("hidden");
      if (draft.read()?.key === key) {
        draft.forget();
      }
      step.tellOthers();
    });
  } catch (error) {
    if (stored) {
      note(texts.lost);
    } else {
      reply.remove();
      mine.remove();
      giveBack(text);
      unanswered = { key, text };
      noteError(error, texts.notSent);
      step.lookNow();
    }
  }
}

async function retry(form) {
  if (busy) {
    return;
  }
  try {
    await showReply(form.closest(".message"), form.action, new FormData(form));
  } catch (error) {
    noteError(error, texts.unreachable);
    step.lookNow();
  }
}

// The reply's own stream then brings its end; what the server answers here is the same once more.
async function stop(form) {
  const button = form.querySelector("button");
  if (button.ariaDisabled) {
    return;
  }
  button.ariaDisabled = "true"; // a disabled one would lose the focus
  try {
    const response = await request(form.action, new FormData(form));
    if (!response.ok) {
      throw await refusal(response);
    }
    await response.body.cancel();
  } catch (error) {
    button.ariaDisabled = null;
    noteError(error, texts.unreachable);
  }
}

function note(text) {
  waitsForReply = false;
  if (composer) {
    composer.querySelector("[data-note]").textContent = text;
  }
}

// Once something gets through, what was amiss before it is no more.
function dropNote() {
  if (!waitsForReply && "active" in texts) {
    note("");
  }
}

function noteError(error, otherwise) {
  note(error instanceof NotSent && error.message ? error.message : otherwise);
  waitsForReply = error.code === "turn_in_progress";
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
  if (item && !busy) {
    showReply(item, at(texts.replyUrl, item.dataset.message)).catch(() => note(texts.lost));
  }
}

// Takes over what another page has made of the conversation. What is the same stays, so that nothing is read out twice.
function showState(fresh) {
  keepingPlace(() => {
    const kept = new Map([...messages.children].map((item) => [identityOf(item), item]));
    const items = [...fresh.querySelector("[data-messages]").children];
    showItems(items.map((item) => keepItem(kept.get(identityOf(item)), item)));
    return messages;
  });
  for (const part of fresh.querySelectorAll("[data-part]")) {
    showTimes(part);
    const shown = document.querySelector(`[data-part="${part.dataset.part}"]`);
    if (shown && !isSame(shown, part)) {
      keepingPlace(() => {
        shown.replaceWith(part);
        return part;
      });
    }
  }
  texts.version = fresh.dataset.version;
  takeBack();
  if ("active" in texts && !("active" in fresh.dataset)) {
    keepingPlace(endComposer);
  }
  resume();
}

// Leaves in the page what stays: taken out and put back, it would lose the focus.
function showItems(items) {
  for (const item of [...messages.children].filter((shown) => !items.includes(shown))) {
    item.remove();
  }
  for (const [position, item] of items.entries()) {
    if (messages.children[position] !== item) {
      messages.insertBefore(item, messages.children[position]);
    }
  }
}

// Every answer has tokens of its own, and an open dialog says so in itself: neither makes a part another.
function isSame(shown, part) {
  const [one, other] = [shown, part].map((each) => {
    const bare = each.cloneNode(true);
    bare.querySelectorAll('[name="csrf_token"]').forEach((token) => token.remove());
    bare.querySelectorAll("dialog").forEach((dialog) => dialog.removeAttribute("open"));
    return bare;
  });
  return one.isEqualNode(other);
}

// What was shown before the server had it gets the name by which quotes link to it.
function keepItem(kept, fresh) {
  if (!kept) {
    return fresh;
  }
  kept.id = fresh.id;
  const notice = fresh.querySelector("[data-notice]");
  if (notice && !kept.querySelector("[data-notice]")) {
    kept.append(notice);
  }
  return kept;
}

function identityOf(item) {
  const { message, key, state, attempt } = item.dataset;
  return key ? `key ${key}` : `${message} ${state} ${attempt}`;
}

// What is in the box stays there to be copied.
function endComposer() {
  delete texts.active;
  if (!composer) {
    return chat; // all its messages are sent
  }
  const box = composer.elements.message;
  box.readOnly = true;
  composer.querySelector("button").hidden = true;
  composer.hidden = !box.value.trim();
  note(texts.ended);
  return chat;
}

const step = keepInStep({
  name: `conversation-${texts.conversation}`,
  url: texts.stateUrl,
  version: () => (busy ? null : texts.version),
  show: showState,
});

if (composer) {
  const box = composer.elements.message;
  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !onTouch.matches) {
      event.preventDefault();
      send();
    }
  });
  const noteTyped = () => {
    boxChanged();
    const text = box.value.trim();
    if (text) {
      draft.keep(text);
    } else {
      draft.forget();
    }
  };
  box.addEventListener("input", () => {
    note("");
    noteTyped();
  });
  const kept = draft.read();
  if (kept && messages.querySelector(`[data-key="${kept.key}"]`)) {
    draft.forget(); // it arrived, only its acknowledgement was lost
  } else if (kept && !box.value) {
    box.value = kept.text;
  }
  if (box.value) {
    noteTyped(); // people type before this script is there, too
  }
}
messages.addEventListener("submit", (event) => {
  if ("retry" in event.target.dataset) {
    event.preventDefault();
    retry(event.target);
  } else if ("stop" in event.target.dataset) {
    event.preventDefault();
    stop(event.target);
  }
});
if (matchMedia("(width < 48rem)").matches) {
  document.querySelector("[data-about]").open = false; // a phone shows the conversation first
}
if (!log.contains(place)) {
  scrollToEnd();
}
resume();
step.tellOthers();
