// LTI platform storage: small values that a tool keeps with the platform while its own cookies may be blocked.
// Values belong to the tool's origin and to this tab.

const MAX_LENGTH = 4096;
const MAX_KEYS = 500;

const prefixOf = (origin) => `lti|${origin}|`;

function put(origin, { key, value }) {
  const name = prefixOf(origin) + key;
  if (typeof key !== "string" || !key) throw new Error("key must be a text");
  if (value === null || value === undefined) {
    sessionStorage.removeItem(name);
    return null;
  }
  if (typeof value !== "string") throw new Error("value must be a text or null");
  if (key.length + value.length > MAX_LENGTH) throw new Error("key and value are too long");
  if (sessionStorage.getItem(name) === null && countOf(origin) >= MAX_KEYS) throw new Error("too many keys");
  sessionStorage.setItem(name, value);
  return value;
}

function get(origin, { key }) {
  if (typeof key !== "string" || !key) throw new Error("key must be a text");
  return sessionStorage.getItem(prefixOf(origin) + key);
}

const countOf = (origin) =>
  Object.keys(sessionStorage).filter((name) => name.startsWith(prefixOf(origin))).length;

const actions = { "lti.put_data": put, "lti.get_data": get };

export const storageSubjects = Object.keys(actions);

export function reply(event, content) {
  const { subject, message_id } = event.data;
  event.source.postMessage({ subject: `${subject}.response`, message_id, ...content }, event.origin);
}

// Answers a storage message and says whether it was one.
export function answerStorage(event) {
  const act = actions[event.data.subject];
  if (!act) return false;
  try {
    if (typeof event.data.message_id !== "string") throw new Error("message_id must be a text");
    reply(event, { key: event.data.key, value: act(event.origin, event.data) });
  } catch (problem) {
    reply(event, { key: event.data.key, error: { code: "bad_request", message: problem.message } });
  }
  return true;
}

// Hands on messages that are objects and come from the tool; everything else is not for us.
export function listenTo(toolOrigin, handle) {
  window.addEventListener("message", (event) => {
    const ours = event.origin === toolOrigin && typeof event.data?.subject === "string";
    if (ours && event.source) handle(event);
  });
}
