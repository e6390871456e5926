// Lets clocks go on between two refreshes, and says aloud that a mark was reached: at those marks, not each second.
// The time that is left comes from the server; this browser's clock is never looked at.

const said = document.getElementById("clock-said");
const live = document.getElementById("live");
const SECOND = 1000;

let begun = performance.now();
let last = null; // what was left at the last look, so that each mark is said once

function show(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  const pad = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const text = hours
    ? `${hours}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`
    : `${Math.floor(whole / 60)}:${pad(whole % 60)}`;
  return seconds < 0 && whole ? `−${text}` : text;
}

function left(clock) {
  const passed = clock.dataset.paused ? 0 : (performance.now() - begun) / SECOND;
  return Number(clock.dataset.left) - passed;
}

function announce(clock, now) {
  const marks = JSON.parse(clock.dataset.marks || "{}");
  const reached = Object.keys(marks).map(Number).filter((mark) => last !== null && now <= mark && mark < last);
  if (reached.length) said.textContent = marks[String(Math.min(...reached))];
  last = now;
}

function tick() {
  for (const clock of live.querySelectorAll("[data-clock]")) {
    const now = left(clock);
    clock.querySelector("[data-time]").textContent = show(now);
    if (said) announce(clock, now);
  }
}

if (live) {
  live.addEventListener("htmx:afterSwap", () => {
    begun = performance.now();
    tick();
  });
  tick();
  setInterval(tick, SECOND);
}
