// What the page around the tool does when the tool asks by postMessage.
import { answerStorage, listenTo, reply, storageSubjects } from "./platform-storage.js";

const frame = document.querySelector("[data-tool-frame]");
const { storageFrame, toolOrigin } = frame.dataset;
const MIN_HEIGHT = 200;
const MAX_HEIGHT = 20000;
let unloadMessage = null;

const handlers = {
  "lti.capabilities": (event) => reply(event, { supported_messages: capabilities() }),
  "lti.frameResize": ({ data }) => {
    const height = Number.parseInt(data.height, 10);
    if (Number.isFinite(height)) frame.style.height = `${Math.min(Math.max(height, MIN_HEIGHT), MAX_HEIGHT)}px`;
  },
  "lti.fetchWindowSize": (event) => {
    const box = frame.getBoundingClientRect();
    const offset = { top: box.top + window.scrollY, left: box.left + window.scrollX };
    reply(event, { height: window.innerHeight, width: window.innerWidth, footer: 0, offset, scrollY: window.scrollY });
  },
  "lti.scrollToTop": () => frame.scrollIntoView({ block: "start" }),
  "lti.showAlert": ({ data }) => announce("[data-alert]", `${data.title ?? frame.title}: ${data.body}`),
  "lti.screenReaderAlert": ({ data }) => announce("[data-screen-reader-alert]", String(data.body)),
  "lti.setUnloadMessage": ({ data }) => {
    unloadMessage = String(data.message ?? "") || null;
  },
  "lti.removeUnloadMessage": () => {
    unloadMessage = null;
  },
};

function capabilities() {
  return [
    ...Object.keys(handlers).map((subject) => ({ subject })),
    ...storageSubjects.map((subject) => ({ subject, frame: storageFrame })),
  ];
}

function announce(selector, text) {
  const place = document.querySelector(selector);
  place.textContent = text;
  place.hidden = false;
}

listenTo(toolOrigin, (event) => {
  if (event.source === frame.contentWindow && !answerStorage(event)) handlers[event.data.subject]?.(event);
});

window.addEventListener("beforeunload", (event) => {
  if (unloadMessage) event.preventDefault();
});
