// What the page around a tool does when the tool asks by postMessage. A page may hold several.
import { answerStorage, listenTo, reply, storageSubjects } from "./platform-storage.js";

const frames = [...document.querySelectorAll("[data-tool-frame]")];
const { storage, storageFrame, toolOrigins } = frames[0]?.dataset ?? {};
const MIN_HEIGHT = 200;
const MAX_HEIGHT = 20000;
let unloadMessage = null;

const handlers = {
  "lti.capabilities": (event) => reply(event, { supported_messages: capabilities() }),
  "lti.frameResize": ({ data }, frame) => {
    const height = Number.parseInt(data.height, 10);
    if (Number.isFinite(height)) frame.style.height = `${Math.min(Math.max(height, MIN_HEIGHT), MAX_HEIGHT)}px`;
  },
  "lti.fetchWindowSize": (event, frame) => {
    const box = frame.getBoundingClientRect();
    const offset = { top: box.top + window.scrollY, left: box.left + window.scrollX };
    reply(event, { height: window.innerHeight, width: window.innerWidth, footer: 0, offset, scrollY: window.scrollY });
  },
  "lti.scrollToTop": (event, frame) => frame.scrollIntoView({ block: "start" }),
  "lti.showAlert": ({ data }, frame) => announce("[data-alert]", `${data.title ?? frame.title}: ${data.body}`),
  "lti.screenReaderAlert": ({ data }) => announce("[data-screen-reader-alert]", String(data.body)),
  "lti.setUnloadMessage": ({ data }) => {
    unloadMessage = String(data.message ?? "") || null;
  },
  "lti.removeUnloadMessage": () => {
    unloadMessage = null;
  },
};

function capabilities() {
  const stores = storage === "off" ? [] : storageSubjects;
  return [
    ...Object.keys(handlers).map((subject) => ({ subject })),
    ...stores.map((subject) => ({ subject, frame: storageFrame })),
  ];
}

function announce(selector, text) {
  const place = document.querySelector(selector);
  place.textContent = text;
  place.hidden = false;
}

listenTo(toolOrigins?.split(" ") ?? [], (event) => {
  const frame = frames.find((each) => each.contentWindow === event.source);
  const answered = frame && storage === "offered" && answerStorage(event);
  if (frame && !answered) handlers[event.data.subject]?.(event, frame);
});

window.addEventListener("beforeunload", (event) => {
  if (unloadMessage) event.preventDefault();
});
