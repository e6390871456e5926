// Letters to keys. A machine is told which key is pressed, not which letter it writes: the same key writes "a" with a
// French keyboard and "q" with an American one.
//
// A layout maps a letter to strokes, each [code of the key, Shift, AltGr]. The French one is what labctl's images have
// (XKB's fr, latin9): there AltGr+7 waits for a letter to put its accent on, and a space writes the accent alone.

const SPACE = [["Space", false, false]];

function rows(plain, shifted, codes, layout, level = false) {
  codes.forEach((code, index) => {
    for (const [letters, shift] of [[plain, false], [shifted, true]]) {
      const letter = [...letters][index];
      if (letter && letter !== " ") layout.set(letter, [[code, shift, level]]);
    }
  });
}

const DIGITS = ["Digit1", "Digit2", "Digit3", "Digit4", "Digit5", "Digit6", "Digit7", "Digit8", "Digit9", "Digit0", "Minus", "Equal"];
const TOP = [..."QWERTYUIOP"].map((key) => `Key${key}`).concat("BracketLeft", "BracketRight");
const HOME = [..."ASDFGHJKL"].map((key) => `Key${key}`).concat("Semicolon", "Quote", "Backslash");
const BOTTOM = ["IntlBackslash"].concat([..."ZXCVBNM"].map((key) => `Key${key}`), "Comma", "Period", "Slash");

function control(layout) {
  layout.set(" ", SPACE);
  layout.set("\n", [["Enter", false, false]]);
  layout.set("\t", [["Tab", false, false]]);
  return layout;
}

function french() {
  const layout = new Map();
  rows("&é\"'(-è_çà)=", "1234567890°+", DIGITS, layout);
  rows(" ~#{[|", "", DIGITS, layout, true);
  rows("       \\^@]}", " É    È ÇÀ", DIGITS, layout, true);
  rows("azertyuiop $", "AZERTYUIOP £", TOP, layout);
  rows("qsdfghjklmù*", "QSDFGHJKLM%µ", HOME, layout);
  rows("<wxcvbn,;:!", ">WXCVBN?./§", BOTTOM, layout);
  rows("  €", "", TOP, layout, true);
  rows("    æ     ²", "    Æ     Ù", HOME, layout, true);
  rows(" «»", "", BOTTOM, layout, true);
  layout.set("œ", [["Backquote", false, false]]);
  layout.set("Œ", [["Backquote", true, false]]);
  layout.set("`", [["Digit7", false, true], ...SPACE]);
  layout.set("¨", [["BracketLeft", true, false], ...SPACE]);
  [..."âêîôûÂÊÎÔÛ"].forEach((letter, index) => {
    layout.set(letter, [["BracketLeft", false, false], ...layout.get([..."aeiouAEIOU"][index])]);
  });
  [..."äëïöüÿÄËÏÖÜ"].forEach((letter, index) => {
    layout.set(letter, [["BracketLeft", true, false], ...layout.get([..."aeiouyAEIOU"][index])]);
  });
  layout.set("’", layout.get("'")); // what a text processor made of an apostrophe
  return control(layout);
}

function american() {
  const layout = new Map();
  rows("1234567890-=", "!@#$%^&*()_+", DIGITS, layout);
  rows("qwertyuiop[]", "QWERTYUIOP{}", TOP, layout);
  rows("asdfghjkl;'\\", "ASDFGHJKL:\"|", HOME, layout);
  rows(" zxcvbnm,./", " ZXCVBNM<>?", BOTTOM, layout);
  layout.set("`", [["Backquote", false, false]]);
  layout.set("~", [["Backquote", true, false]]);
  return control(layout);
}

export const LAYOUTS = { fr: french(), us: american() };

// Return [strokes of the text, letters that the layout cannot write].
export function strokesOf(text, layout) {
  const strokes = [];
  const unknown = new Set();
  for (const letter of text.normalize("NFC").replaceAll("\r\n", "\n").replaceAll("\u00a0", " ").replaceAll("\u202f", " ")) {
    const found = LAYOUTS[layout].get(letter);
    if (found) strokes.push(...found.map(([code, shift, level]) => ({ letter, code, shift, level })));
    else unknown.add(letter);
  }
  return [strokes, [...unknown]];
}
