"""What a guest wrote to what may be shown anywhere: no control character, no hidden turn of the text, not too long."""

import unicodedata
from dataclasses import dataclass

LONGEST = 2000  # characters of a check's output on a sheet
MOST_LINES = 40
LONGEST_LINE = 300  # characters of what is one line in a table
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CONTROLS = {*range(0x20), 0x7F}
SPACES = {"\n": "\n", "\t": "    ", "\u2028": "\n", "\u2029": "\n"}


@dataclass(frozen=True)
class Shown:
    """A text that can be shown as it is; `left_out` is how many characters of the original it lacks at its end."""

    text: str
    left_out: int = 0


def show_text(text: str, longest: int = LONGEST) -> Shown:
    r"""Return a text without what a terminal, a browser, a spreadsheet or an XML parser might act on.

    Control characters are written as in `\x1b`; what turns or hides letters, half characters and what XML 1.0 has no
    place for become U+FFFD.
    """
    lines = text[:longest].replace("\r\n", "\n").split("\n")
    kept = "\n".join(lines[:MOST_LINES])
    whole = text.replace("\r\n", "\n") if len(lines) > MOST_LINES or len(text) > longest else kept
    return Shown("".join(map(show_character, kept)), len(whole) - len(kept))


def show_line(text: str) -> str:
    """Return a text as one harmless line, cut with an ellipsis."""
    shown = show_text(text, LONGEST_LINE)
    return " ".join(shown.text.split()) + ("…" if shown.left_out else "")


def show_character(letter: str) -> str:
    """Return what stands for one character."""
    if letter in SPACES:
        return SPACES[letter]
    code = ord(letter)
    if code in CONTROLS:
        return f"\\x{code:02x}"  # Unicode has pictures of them, which few fonts have
    # Cc, Cf, Cs: controls, marks that turn or hide text, half characters. The last two of each plane are no characters.
    hidden = unicodedata.category(letter) in {"Cc", "Cf", "Cs"} or code & 0xFFFE == 0xFFFE  # noqa: PLR2004  Unicode 23.7
    return REPLACEMENT if hidden else letter
