// Takes the whole tab along when a frame has done its work.
const way = document.querySelector("[data-leave]");

if (way) window.top.location.assign(way.href);
