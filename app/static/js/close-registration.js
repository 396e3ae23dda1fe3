// Tells the platform that registering is over, so that it takes its frame or window away (LTI Dynamic Registration 1.0).
const button = document.querySelector("[data-close-registration]");
const platform = window.opener || window.parent;

if (platform !== window) {
  button.hidden = false;
  // To any origin: the message says nothing, and which page of the platform opened this one is not known.
  button.addEventListener("click", () => platform.postMessage({ subject: "org.imsglobal.lti.close" }, "*"));
}
