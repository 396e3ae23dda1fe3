// Shows every moment in the reader's own time and language; without this, pages show UTC.
const format = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
  dateStyle: "medium",
  timeStyle: "short",
});
for (const element of document.querySelectorAll("time[datetime]")) {
  element.title = element.textContent;
  element.textContent = format.format(new Date(element.dateTime));
}
