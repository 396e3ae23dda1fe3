// Counts down the messages that a student may still send, where the teacher has set how many there are.
export function takeTurn(composer) {
  const turns = document.querySelector("[data-turns-left]");
  if (!turns) {
    return;
  }
  const left = Math.max(0, Number(turns.dataset.turnsLeft) - 1);
  turns.dataset.turnsLeft = left;
  const text = turns.querySelector("p");
  if (left === 0) {
    closeBox(composer);
    text.textContent = turns.dataset.none;
    text.focus();
  } else if (left <= Number(turns.dataset.few)) {
    text.textContent = turns.dataset.counted.replace("{count}", left);
  }
}

function closeBox(composer) {
  composer.elements.message.readOnly = true;
  for (const part of composer.querySelectorAll("textarea, button, .composer-hint")) {
    part.hidden = true;
  }
}
