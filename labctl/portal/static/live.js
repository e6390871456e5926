// Refreshes the part of a page that changes when the server says that something did. The page is whole without this.
// One stream for a page, closed while the page is hidden or paused: a browser has six connections to a host.

const live = document.getElementById("live");
const bar = document.getElementById("livebar");
const line = document.getElementById("live-state");
const button = document.getElementById("live-pause");
const said = document.getElementById("live-said");
const PAUSED = "labctl-paused";
const AGAIN = 5000; // milliseconds before a stream that the server refused is tried again

let source = null;
let timer = 0;
let opened = false;
let paused = sessionStorage.getItem(PAUSED) === "1";

function refresh() {
  window.htmx.trigger(live, "refresh");
}

function close() {
  clearTimeout(timer);
  if (source) source.close();
  source = null;
}

function open() {
  close();
  if (paused || document.hidden) return;
  source = new EventSource(live.dataset.events);
  source.addEventListener("hello", () => {
    line.textContent = bar.dataset.on;
    if (opened) refresh(); // what was missed meanwhile
    opened = true;
  });
  source.addEventListener("changed", refresh);
  source.addEventListener("ended", (event) => {
    if (event.data.trim() === "session") window.location.reload();
  });
  source.onerror = () => {
    line.textContent = bar.dataset.lost;
    if (source && source.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN);
  };
}

function show() {
  button.textContent = paused ? bar.dataset.resume : bar.dataset.pause;
  line.textContent = paused ? bar.dataset.off : bar.dataset.on;
}

function summary() {
  const found = live.querySelector("[data-summary]");
  return found ? found.textContent.trim() : "";
}

// What a person has chosen or opened stays so when the part is replaced.
let kept = { checked: [], open: [], text: "" };

function keep() {
  kept = {
    checked: [...live.querySelectorAll("input[type=checkbox]:checked")].map((one) => one.id),
    open: [...live.querySelectorAll("details[open]")].map((one) => one.id),
    text: summary(),
  };
}

function restore() {
  for (const id of kept.checked) {
    const found = document.getElementById(id);
    if (found) found.checked = true;
  }
  for (const id of kept.open) {
    const found = id && document.getElementById(id);
    if (found) found.open = true;
  }
  const text = summary();
  if (text !== kept.text) said.textContent = text; // read out only when the sentence is another one
}

if (live && bar) {
  bar.hidden = false;
  show();
  button.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem(PAUSED, paused ? "1" : "");
    show();
    open();
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", open);
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());
  live.addEventListener("htmx:beforeSwap", keep);
  live.addEventListener("htmx:afterSwap", restore);
  open();
}

const all = document.getElementById("choose-all");
if (all) {
  all.hidden = false;
  all.addEventListener("click", () => {
    const boxes = [...document.querySelectorAll("#many :is(input[name=lab], input[name=number])")];
    const none = boxes.every((box) => box.checked);
    for (const box of boxes) box.checked = !none;
    all.textContent = none ? all.dataset.all : all.dataset.none;
  });
}

// The time that is left in a session goes on without a word of the server; its clock counts, not the browser's.
const MINUTE = 60000; // milliseconds
const begun = new WeakMap();

function tellLeft() {
  for (const one of document.querySelectorAll("[data-minutes]")) {
    if (!begun.has(one)) begun.set(one, performance.now());
    const left = Math.ceil(Number(one.dataset.minutes) - (performance.now() - begun.get(one)) / MINUTE);
    const words = left <= 0 ? one.dataset.ended : left < 60 ? one.dataset.minutesLeft : one.dataset.hoursLeft;
    one.textContent = words.replace("{hours}", Math.floor(left / 60)).replace("{minutes}", left < 60 ? left : left % 60);
  }
}

setInterval(tellLeft, MINUTE / 4);
tellLeft();
