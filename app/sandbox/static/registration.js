// Goes back to the developer keys when the tool says that its registration is done.
import { listenTo } from "./platform-storage.js";

const frame = document.querySelector("[data-registration-frame]");

listenTo([frame.dataset.toolOrigin], (event) => {
  const done = event.source === frame.contentWindow && event.data.subject === "org.imsglobal.lti.close";
  if (done) window.location.assign(document.querySelector("[data-leave]").href);
});
