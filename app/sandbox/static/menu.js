// Folds course navigation away on narrow screens. Without this script it stays open.
const button = document.querySelector("[data-menu-button]");
const menu = button && document.getElementById(button.getAttribute("aria-controls"));

function show(open) {
  button.setAttribute("aria-expanded", String(open));
  menu.classList.toggle("is-folded", !open);
}

if (menu) {
  const narrow = window.matchMedia("(max-width: 47.99rem)");
  show(!narrow.matches);
  narrow.addEventListener("change", () => show(!narrow.matches));
  button.addEventListener("click", () => show(button.getAttribute("aria-expanded") !== "true"));
}
