// Submits the one form of a page that only passes the browser on. It waits for everything that the page holds,
// so that the storage frame is there before the tool asks for it.
window.addEventListener("load", () => {
  document.querySelector("form[data-auto-submit]")?.requestSubmit();
});
