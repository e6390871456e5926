// A machine's screen by noVNC.

import RFB from "../vendor/novnc/core/rfb.js";
import { strokesOf } from "./layouts.js";

const SHIFT = 0xffe1, LEVEL = 0xfe03; // keysyms of Shift and AltGr
const PAUSE = 30; // milliseconds between two keys: an emulated machine loses faster ones

const pause = (time) => new Promise((done) => setTimeout(done, time));

// The number of a letter in VNC; only servers that know no codes of keys look at it.
function keysym(letter) {
  const special = { "\n": 0xff0d, "\t": 0xff09 }[letter];
  const point = letter.codePointAt(0);
  return special ?? (point < 0x100 ? point : 0x01000000 | point);
}

export class Screen {
  constructor(target, channel, { look, label, help }) {
    this.rfb = new RFB(target, channel, { shared: true });
    this.rfb.viewOnly = look;
    this.rfb.scaleViewport = true;
    this.rfb.background = "#101418";
    this.rfb.showDotCursor = !look;
    const canvas = target.querySelector("canvas");
    canvas.setAttribute("role", look ? "img" : "application");
    canvas.setAttribute("aria-label", label);
    canvas.setAttribute("aria-describedby", help);
    if (!look) canvas.tabIndex = 0;
    this.typing = 0;
    this.target = target;
    this.label = label;
    this.picture = null;
  }

  focus() {
    this.rfb.focus();
  }

  // noVNC lets go of the keys that are down when the window loses the focus, and only then.
  release() {
    window.dispatchEvent(new Event("blur"));
    this.rfb.blur();
  }

  ctrlAltDel() {
    this.rfb.sendCtrlAltDel();
    this.focus();
  }

  async type(text, { layout, told }) {
    const [strokes, unknown] = strokesOf(text, layout);
    if (unknown.length) return unknown;
    const turn = ++this.typing; // a newer text, or the end, stops an older one
    for (const [index, { letter, code, shift, level }] of strokes.entries()) {
      if (turn !== this.typing) break;
      if (shift) this.rfb.sendKey(SHIFT, "ShiftLeft", true);
      if (level) this.rfb.sendKey(LEVEL, "AltRight", true);
      this.rfb.sendKey(keysym(letter), code);
      if (level) this.rfb.sendKey(LEVEL, "AltRight", false);
      if (shift) this.rfb.sendKey(SHIFT, "ShiftLeft", false);
      if (index % 20 === 0) told(index, strokes.length);
      await pause(PAUSE);
    }
    return [];
  }

  // noVNC takes its canvas away when it parts.
  keep() {
    const shown = this.target.querySelector("canvas");
    if (this.picture || !shown?.width) return;
    this.picture = document.createElement("canvas");
    Object.assign(this.picture, { width: shown.width, height: shown.height, className: "still" });
    this.picture.setAttribute("role", "img");
    this.picture.setAttribute("aria-label", this.label);
    this.picture.getContext("2d").drawImage(shown, 0, 0);
  }

  close() {
    this.typing += 1;
    this.keep();
    if (this.target.querySelector("canvas:not(.still)")) this.rfb.disconnect(); // else it has parted already
    if (this.picture) this.target.replaceChildren(this.picture);
  }
}
