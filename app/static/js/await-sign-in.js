// Goes on when somebody has signed in in another tab. It asks while the page is seen, and when it is seen again.
const PAUSE = 2000;
const waiting = document.querySelector("[data-await-sign-in]");

async function goOn() {
  if (document.hidden) {
    return;
  }
  const response = await fetch(waiting.dataset.awaitSignIn).catch(() => null);
  const { signed_in: key } = response?.ok ? await response.json() : {};
  if (key && key !== waiting.dataset.signedIn) {
    window.location.reload();
  }
}

document.addEventListener("visibilitychange", goOn);
setInterval(goOn, PAUSE);
