// Keeps a page in step with a conversation that goes on elsewhere: in another tab, or on another device.
// Tabs of one browser tell each other. Other devices are noticed by asking the server: when the page comes into sight,
// soon after something happened in it, and ever more rarely while nothing does; never while it is hidden or nobody is
// there (who leaves a page open is signed out in the end, as ever).
const FIRST_PAUSE = 3000;
const LONGEST_PAUSE = 30000;
const PRESENCE = 10 * 60 * 1000;

// Watches one conversation. `version()` is what the page shows, null while it must not change; `show(fresh)` is handed
// the element that the server answers with where there is something newer.
export function keepInStep({ name, url, version, show }) {
  const others = openChannel(name);
  let pause = FIRST_PAUSE;
  let timer = 0;
  let asking = false;
  let lastSign = Date.now();

  async function look() {
    const shown = version();
    if (shown === null || document.hidden || asking || Date.now() - lastSign > PRESENCE) {
      return;
    }
    asking = true;
    try {
      const response = await fetch(`${url}?version=${encodeURIComponent(shown)}`);
      if (response.status === 200 && version() === shown) {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        show(page.querySelector("[data-conversation-state]"));
        pause = FIRST_PAUSE;
      }
    } catch {
      // Out of reach just now: it is asked again, and sending says so.
    } finally {
      asking = false;
    }
  }

  function wait() {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      await look();
      pause = Math.min(pause * 2, LONGEST_PAUSE);
      wait();
    }, pause);
  }

  function lookNow() {
    pause = FIRST_PAUSE;
    wait();
    return look();
  }

  function noteSign() {
    const wasAway = Date.now() - lastSign > PRESENCE;
    lastSign = Date.now();
    if (wasAway) {
      lookNow();
    }
  }

  for (const sign of ["pointerdown", "keydown", "visibilitychange"]) {
    document.addEventListener(sign, noteSign);
  }
  document.addEventListener("visibilitychange", lookNow);
  others?.addEventListener("message", lookNow);
  wait();
  return {
    lookNow,
    // Says that this page has changed the conversation.
    tellOthers() {
      others?.postMessage("changed");
      pause = FIRST_PAUSE;
      wait();
    },
  };
}

function openChannel(name) {
  try {
    return new BroadcastChannel(name);
  } catch {
    return null; // forbidden in a frame, like storage
  }
}
