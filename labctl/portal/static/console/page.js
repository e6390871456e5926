// The page of one console: asks for a ticket, opens the way with it, and says in words what happens.

import { Channel } from "./channel.js";

const root = document.getElementById("console");
const part = (id) => document.getElementById(id);
const words = part("words")?.dataset;
const WAITS = [1, 2, 4, 8, 15, 15, 15, 15, 15, 15]; // seconds before each new try
const RENEWALS = 2; // new tickets instead of one that has expired on its way
const KEPT = "labctl-reader";

let view = null; // what shows the console: a Screen or a Terminal
let channel = null;
let ended = true; // whether the end was said, or wanted
let tries = 0;
let timer = 0;

function say(text, kind = "") {
  const state = part("console-state");
  state.className = `console-state ${kind}`;
  if (state.textContent !== text) state.textContent = text;
}

function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_all, name) => values[name]);
}

function showPeople(people) {
  const line = part("console-people");
  const said = people.map(({ name, view_only: looks }) => fill(looks ? words.looks : words.acts, { name }));
  line.textContent = [...new Set(said)].join(" · ");
  line.hidden = !said.length;
}

function offer({ again = false, takeOver = false } = {}) {
  part("connect").hidden = !again;
  part("take-over").hidden = !takeOver;
  part("disconnect").hidden = again;
  for (const id of ["ctrl-alt-del", "paste"]) if (part(id)) part(id).disabled = again;
}

async function askTicket(takeOver) {
  const { mode, look, csrf, place } = root.dataset;
  const body = new URLSearchParams({ mode, look, take_over: takeOver ? "1" : "", csrf });
  const answer = await fetch(`${place}/ticket`, { method: "POST", body });
  if (answer.redirected) location.reload(); // nobody is logged in any more
  const told = answer.headers.get("content-type")?.includes("json");
  return told || answer.status >= 500 ? answer.json() : { refused: words.old };
}

async function connect(takeOver = false) {
  clearTimeout(timer);
  ended = false;
  offer();
  say(words.connecting);
  try {
    const show = await load(); // before the ticket, which lasts half a minute: a slow line may take longer
    const { ticket, refused, away } = await askTicket(takeOver);
    if (away) return again(refused, true);
    if (refused) return stop(refused);
    open(ticket, show);
  } catch {
    again();
  }
}

async function load() {
  if (root.dataset.mode === "graphics") return (await import("./screen.js")).Screen;
  return (await import("./terminal.js")).Terminal;
}

function open(ticket, show) {
  const { mode, look, place, nonce } = root.dataset;
  const address = new URL(`${place}/socket?mode=${mode}${look ? "&look=1" : ""}`, location.href);
  address.protocol = location.protocol.replace("http", "ws");
  const own = new Channel(address, ticket);
  channel = own;
  own.onending = () => channel === own && view?.keep?.();
  own.onclose = () => channel === own && !ended && again();
  own.onnotice = (notice) => {
    if (channel !== own) return;
    if (notice.people) showPeople(notice.people);
    if (notice.away || (notice.expired && tries < RENEWALS)) again(notice.refused, notice.away);
    else if (notice.refused) stop(notice.refused, { takeOver: notice.held && !look });
    if (notice.end) stop(notice.said);
    if (notice.open) {
      tries = 0;
      clear();
      const options = { look: Boolean(look), label: words.screen, help: "console-help", fits: mode === "ssh", nonce, reader: wantsReader() };
      if (mode !== "graphics") options.label = root.getAttribute("aria-label");
      view = new show(part("screen"), own, options);
      // noVNC closes the websocket by itself after what it does not understand
      view.rfb?.addEventListener("disconnect", () => channel === own && !ended && again());
      say(words.connected);
      // Who has gone elsewhere in the meantime stays there.
      if (!look && [document.body, null].includes(document.activeElement)) view.focus();
    }
  };
}

function clear() {
  view?.dispose?.();
  view = null;
  part("screen").replaceChildren();
}

// The last picture stays: it may hold what somebody wants to read.
function stop(text, offers = {}) {
  ended = true;
  clearTimeout(timer);
  view?.close();
  channel?.close();
  showPeople([]);
  say(text, "bad");
  offer({ again: true, ...offers });
  if (!document.activeElement || part("screen").contains(document.activeElement) || document.activeElement === document.body) {
    part(offers.takeOver ? "take-over" : "connect").focus();
  }
}

// The portal, or what is behind it, is started again: it comes back within seconds, and the console with it.
function again(text = "", away = false) {
  if (tries >= WAITS.length) return stop(text || words.gone);
  say(away ? `${text} ${words.again}` : words.lost, "bad");
  ended = true;
  view?.close();
  channel?.close();
  channel = null;
  clearTimeout(timer);
  timer = setTimeout(() => connect(), WAITS[tries++] * 1000);
}

function release() {
  view?.release();
  const button = [...root.querySelectorAll(".tools button")].find((one) => !one.hidden && !one.disabled);
  button.focus();
  say(words.released);
}

// Ctrl, Alt and Shift together give the keyboard back. On Windows AltGr is Ctrl and Alt: with Shift it writes letters.
function watchKeys(event) {
  const held = event.ctrlKey && event.altKey && event.shiftKey && !event.getModifierState("AltGraph");
  if (!held || !["Control", "Alt", "Shift"].includes(event.key) || !part("screen").contains(event.target)) return;
  event.preventDefault();
  event.stopPropagation();
  release();
}

function wantsReader() {
  try {
    return localStorage.getItem(KEPT) === "1";
  } catch {
    return false; // the browser keeps nothing for us
  }
}

function switchReader() {
  const on = part("reader").getAttribute("aria-pressed") !== "true";
  part("reader").setAttribute("aria-pressed", on);
  view?.setReader(on);
  try {
    localStorage.setItem(KEPT, on ? "1" : "");
  } catch {
    // asked again next time
  }
}

async function fullScreen() {
  if (document.fullscreenElement) return document.exitFullscreen();
  await root.requestFullscreen();
  // Where the browser can, Esc and the like reach the machine too; Esc held down leaves the full screen then.
  navigator.keyboard?.lock?.().catch(() => {});
  view?.focus();
}

async function typeText() {
  const dialog = part("paste-dialog");
  if (dialog.returnValue !== "type" || !view) return;
  const text = part("paste-text").value;
  part("paste-text").value = "";
  const told = (done, all) => say(fill(words.typing, { done, all }));
  view.focus();
  const unknown = await view.type(text, { layout: part("paste-layout")?.value, told });
  say(unknown.length ? fill(words.unknown, { letters: unknown.join(" ") }) : words.typed, unknown.length ? "bad" : "");
}

function prepare() {
  part("connect").addEventListener("click", () => connect());
  part("take-over").addEventListener("click", () => connect(true));
  part("disconnect").addEventListener("click", () => stop(words.disconnected));
  part("full-screen").addEventListener("click", fullScreen);
  part("ctrl-alt-del")?.addEventListener("click", () => view?.ctrlAltDel());
  part("paste")?.addEventListener("click", () => part("paste-dialog").showModal());
  part("paste-dialog").addEventListener("close", typeText);
  part("reader")?.addEventListener("click", switchReader);
  part("reader")?.setAttribute("aria-pressed", wantsReader());
  document.addEventListener("keydown", watchKeys, true);
  window.addEventListener("pagehide", () => channel?.close());
  connect();
}

if (root) prepare();
