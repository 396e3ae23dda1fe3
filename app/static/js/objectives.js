// Adds a box for a further objective in place; without this, the button asks the server for one.
const list = document.querySelector("[data-objectives]");
const button = document.querySelector("[data-add-objective]");
const limit = Number(list.dataset.limit);

function showLimit() {
  button.disabled = list.children.length >= limit;
}

button.addEventListener("click", (event) => {
  event.preventDefault();
  const item = list.lastElementChild.cloneNode(true);
  const box = item.querySelector("textarea");
  const index = list.children.length;
  box.id = box.name = `learning_objectives-${index}`;
  box.value = "";
  const label = item.querySelector("label");
  label.htmlFor = box.id;
  label.textContent = button.dataset.label.replace("{number}", index + 1);
  list.append(item);
  showLimit();
  box.focus();
});
showLimit();
