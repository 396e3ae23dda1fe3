// Leaves the login's secret with the platform, beside the cookie, and goes on where one of the two is kept.
import { platformStorage, showRefusal } from "./platform-storage.js";

const login = document.querySelector("[data-login]");
const { key, secret, next, cookieCheck } = login.dataset;

const [stored, cookie] = await Promise.all([
  platformStorage(login.dataset).put(key, secret),
  fetch(cookieCheck, { credentials: "same-origin" }).then((answer) => answer.ok, () => false),
]);
if (stored === secret || cookie) window.location.replace(next);
else showRefusal(login);
