// Keeps what is written until the server has it, with the key that makes sending it twice one message.
// A browser that blocks third-party cookies forbids storage in a frame: then a draft lives in its box alone.
export function draftStore(conversation) {
  const name = `draft-${conversation}`;
  const attempt = (action) => {
    try {
      return action();
    } catch {
      return null;
    }
  };
  const read = () => attempt(() => JSON.parse(sessionStorage.getItem(name)));
  return {
    available: attempt(() => Boolean(sessionStorage)) ?? false,
    read,
    forget: () => attempt(() => sessionStorage.removeItem(name)),
    // Returns the key: the same one while the text is the same.
    keep(text) {
      const kept = read();
      const key = kept?.text === text ? kept.key : crypto.randomUUID();
      attempt(() => sessionStorage.setItem(name, JSON.stringify({ text, key })));
      return key;
    },
  };
}
