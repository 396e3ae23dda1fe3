// Rests for a while, longer while nobody sees the page, and no longer than until somebody sees it again.
export function rest(pause) {
  return new Promise((resolve) => {
    const timer = setTimeout(wake, pause);
    document.addEventListener("visibilitychange", wake);
    function wake() {
      if (!document.hidden) {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", wake);
        resolve();
      }
    }
  });
}
