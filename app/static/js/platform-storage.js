// The platform's own storage, by messages to one of its frames (LTI Client Side postMessages 1.0, Platform Storage 1.0).
const ANSWER_MS = 1000;

/** Return functions that put and get a value; both give null where the platform does not answer within a second. */
export function platformStorage({ target, origin }) {
  const ask = (subject, fields) => send(frameOf(target), origin, { subject, ...fields });
  return {
    put: async (key, value) => (await ask("lti.put_data", { key, value }))?.value ?? null,
    get: async (key) => (await ask("lti.get_data", { key }))?.value ?? null,
  };
}

function frameOf(target) {
  const platform = window.opener ?? window.parent;
  if (target === "_parent") return platform;
  try {
    return platform.frames[target] ?? null;
  } catch {
    return null;
  }
}

function send(frame, origin, message) {
  const messageId = crypto.randomUUID();
  return new Promise((resolve) => {
    const finish = (answer) => {
      window.removeEventListener("message", listen);
      clearTimeout(timer);
      resolve(answer);
    };
    const listen = ({ origin: from, data }) => {
      if (from !== origin || data?.message_id !== messageId) return;
      finish(data.error ? null : data);
    };
    const timer = setTimeout(finish, ANSWER_MS, null);
    window.addEventListener("message", listen);
    if (frame) frame.postMessage({ ...message, message_id: messageId }, origin);
    else finish(null);
  });
}

/** Show what to do where nothing was kept. */
export function showRefusal(element) {
  element.querySelector("[data-waiting]").hidden = true;
  element.querySelector("[data-refused]").hidden = false;
  element.querySelector("[data-refused] a")?.focus();
}
