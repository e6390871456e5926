// A machine's text by xterm: its serial console, which has 80 columns and 24 lines for ever, or a shell by SSH, which
// follows the window.

import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { Terminal as XTerm } from "../vendor/xterm/xterm.mjs";

// xterm makes <style> elements, which the page's policy takes from nobody without its number.
let done = false;

function numberStyles(nonce) {
  if (done) return;
  done = true;
  const make = document.createElement.bind(document);
  document.createElement = (name, ...more) => {
    const made = make(name, ...more);
    if (name === "style") made.nonce = nonce;
    return made;
  };
}

export class Terminal {
  constructor(target, channel, { look, label, fits, nonce, reader }) {
    numberStyles(nonce);
    this.channel = channel;
    this.terminal = new XTerm({
      cols: 80, rows: 24, scrollback: 5000, disableStdin: look, screenReaderMode: reader, cursorBlink: false,
      fontFamily: 'ui-monospace, "DejaVu Sans Mono", Consolas, monospace', fontSize: 16, minimumContrastRatio: 4.5,
      theme: { background: "#101418", foreground: "#edf1f5" },
    });
    this.terminal.open(target);
    this.terminal.textarea.setAttribute("aria-label", label);
    const encoder = new TextEncoder();
    this.terminal.onData((text) => !look && channel.send(encoder.encode(text)));
    this.terminal.onBinary((text) => !look && channel.send(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    channel.onmessage = (event) => this.terminal.write(new Uint8Array(event.data));
    if (fits) this.fit(target);
  }

  fit(target) {
    const addon = new FitAddon();
    this.terminal.loadAddon(addon);
    this.terminal.onResize(({ cols, rows }) => this.channel.say({ columns: cols, rows }));
    this.watcher = new ResizeObserver(() => addon.fit());
    this.watcher.observe(target);
    addon.fit();
    this.channel.say({ columns: this.terminal.cols, rows: this.terminal.rows });
  }

  focus() {
    this.terminal.focus();
  }

  release() {
    this.terminal.blur();
  }

  setReader(on) {
    this.terminal.options.screenReaderMode = on;
  }

  async type(text) {
    this.terminal.paste(text.normalize("NFC"));
    return [];
  }

  close() {
    this.watcher?.disconnect();
    this.channel.close();
    this.terminal.options.disableStdin = true;
  }

  dispose() {
    this.terminal.dispose();
  }
}
