// Adds a row for one more entry of a list in place; without this, the button asks the server for one.
function addRow(list) {
  const last = list.lastElementChild;
  const row = last.cloneNode(true);
  const before = Number(row.querySelector("[name]").name.match(/-(\d+)/)[1]);
  const renumbered = (text) => text.replace(`-${before}`, `-${before + 1}`);
  for (const input of row.querySelectorAll("[name]")) {
    input.name = renumbered(input.name);
    input.id = renumbered(input.id);
    input.classList.remove("is-invalid");
    if (input.type === "checkbox") input.checked = "ticked" in input.dataset;
    else input.value = "";
  }
  for (const label of row.querySelectorAll("label")) label.htmlFor = renumbered(label.htmlFor);
  const number = list.children.length + 1;
  for (const text of row.querySelectorAll("[data-numbered]")) {
    text.textContent = text.dataset.numbered.replace("{number}", number);
  }
  list.append(row);
  return row;
}

for (const button of document.querySelectorAll("[data-add-row]")) {
  const list = document.getElementById(button.dataset.addRow);
  const showLimit = () => {
    button.disabled = list.children.length >= Number(list.dataset.limit);
  };
  button.addEventListener("click", (event) => {
    event.preventDefault();
    addRow(list).querySelector("[name]").focus();
    showLimit();
  });
  showLimit();
}
