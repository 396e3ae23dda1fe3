// LTI platform storage: small values that a tool keeps with the platform while its own cookies may be blocked.
// Values belong to the tool's origin and to this tab.

const MAX_LENGTH = 4096;
const MAX_KEYS = 500;

const store = openStore();

const prefixOf = (origin) => `lti|${origin}|`;

// A browser that keeps no cookies refuses this too: then the page remembers for as long as it is open.
function openStore() {
  try {
    return window.sessionStorage;
  } catch {
    const values = new Map();
    return {
      getItem: (name) => values.get(name) ?? null,
      setItem: (name, value) => values.set(name, value),
      removeItem: (name) => values.delete(name),
      names: () => [...values.keys()],
    };
  }
}

function put(origin, { key, value }) {
  const name = prefixOf(origin) + key;
  if (typeof key !== "string" || !key) throw new Error("key must be a text");
  if (value === null || value === undefined) {
    store.removeItem(name);
    return null;
  }
  if (typeof value !== "string") throw new Error("value must be a text or null");
  if (key.length + value.length > MAX_LENGTH) throw new Error("key and value are too long");
  if (store.getItem(name) === null && countOf(origin) >= MAX_KEYS) throw new Error("too many keys");
  store.setItem(name, value);
  return value;
}

function get(origin, { key }) {
  if (typeof key !== "string" || !key) throw new Error("key must be a text");
  return store.getItem(prefixOf(origin) + key);
}

const countOf = (origin) =>
  (store.names?.() ?? Object.keys(store)).filter((name) => name.startsWith(prefixOf(origin))).length;

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

// Hands on messages that are objects and come from a tool; everything else is not for us.
export function listenTo(toolOrigins, handle) {
  window.addEventListener("message", (event) => {
    const ours = toolOrigins.includes(event.origin) && typeof event.data?.subject === "string";
    if (ours && event.source) handle(event);
  });
}
