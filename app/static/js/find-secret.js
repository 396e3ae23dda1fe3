// Brings the login's secret back from the platform where the browser kept no cookie.
import { platformStorage, showRefusal } from "./platform-storage.js";

const form = document.querySelector("[data-find-secret]");
const secret = await platformStorage(form.dataset).get(form.dataset.key);
if (secret) {
  form.elements.secret.value = secret;
  form.submit();
} else {
  showRefusal(form);
}
