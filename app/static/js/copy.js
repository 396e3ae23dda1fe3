// Copies what a field holds; without this, or where the browser refuses, people select and copy it themselves.
const status = document.querySelector("[data-copy-status]");
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    // In another site's frame the newer way needs a permission that platforms do not give; then the older one serves.
    const written = navigator.clipboard?.writeText(field.value).then(() => true) ?? Promise.resolve(false);
    if (await written.catch(() => document.execCommand("copy"))) {
      status.textContent = button.dataset.copied;
      button.focus();
    }
  });
}
