// Submits the one form of a page that only passes the browser on.
document.querySelector("[data-pass-on]").requestSubmit();
