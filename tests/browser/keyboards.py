"""A French keyboard before Chromium: what the browser tells a page for each key, as Linux or as Windows does."""

from dataclasses import dataclass

from playwright.sync_api import Page

SHIFT, CONTROL, ALT = 8, 2, 1  # bits of CDP's Input.dispatchKeyEvent


@dataclass(frozen=True)
class Key:
    """A key: `code` is its place, `scancode` what a PC's keyboard sends for it (set 1)."""

    code: str
    scancode: int
    virtual: int  # Windows' number of the key, which xterm looks at


KEYS = {
    "é": Key("Digit2", 0x03, 0x32), "è": Key("Digit7", 0x08, 0x37), "ç": Key("Digit9", 0x0A, 0x39),
    "à": Key("Digit0", 0x0B, 0x30), "a": Key("KeyQ", 0x10, 0x41), "z": Key("KeyW", 0x11, 0x5A),
    "q": Key("KeyA", 0x1E, 0x51), "m": Key("Semicolon", 0x27, 0x4D), ",": Key("KeyM", 0x32, 0xBC),
    "ù": Key("Quote", 0x28, 0xC0), "<": Key("IntlBackslash", 0x56, 0xE2), "$": Key("BracketRight", 0x1B, 0xBA),
    "*": Key("Backslash", 0x2B, 0xDC),
    ";": Key("Comma", 0x33, 0xBE), " ": Key("Space", 0x39, 0x20),
}  # fmt: skip
SHIFTED = {"2": "é", "0": "à", "A": "a", "M": "m", ".": ";", "?": ",", ">": "<", "£": "$"}
LEVEL: dict[str, str | Key] = {
    "@": "à", "~": "é", "#": Key("Digit3", 0x04, 0x33), "€": Key("KeyE", 0x12, 0x45), "{": Key("Digit4", 0x05, 0x34),
}  # fmt: skip
SYSTEMS = {"linux": "Linux x86_64", "windows": "Win32"}
CONTROL_ALT_DELETE = bytes.fromhex("1d38e053e0d3b89d")
TEXT = "éèçà@#€~{a,z.AM?<>ù*$£20 "
LEFT_SHIFT, RIGHT_ALT = 0x2A, b"\xe0\x38"
# Windows makes two keys of AltGr, at the very same moment; two messages to the browser might be a while apart.
ALT_GR = """() => {
    const both = { bubbles: true, cancelable: true, ctrlKey: true };
    for (const more of [{ key: "Control", code: "ControlLeft", keyCode: 17, location: 1 },
                        { key: "AltGraph", code: "AltRight", keyCode: 18, location: 2, altKey: true }])
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { ...both, ...more }));
}"""


class Azerty:
    """Presses keys."""

    def __init__(self, page: Page, *, windows: bool) -> None:
        self.page, self.session, self.windows = page, page.context.new_cdp_session(page), windows

    def write(self, text: str) -> bytes:
        """Press what writes a text; return what a PC's keyboard sends meanwhile."""
        return b"".join(self.press(letter) for letter in text)

    def press(self, letter: str) -> bytes:
        """Press what writes a letter."""
        if letter in LEVEL:
            found = LEVEL[letter]
            key = KEYS[found] if isinstance(found, str) else found
            if self.windows:
                self.page.evaluate(ALT_GR)
            else:
                self.event("rawKeyDown", "AltGraph", "AltRight", 0x12, 0, 2)
            self.stroke(key, letter, (CONTROL | ALT) if self.windows else 0)
            if self.windows:
                self.event("keyUp", "Control", "ControlLeft", 0x11, ALT)
            self.event("keyUp", "AltGraph", "AltRight", 0x12, 0, 2)
            return RIGHT_ALT + down_up(key) + b"\xe0\xb8"
        if letter in SHIFTED:
            key = KEYS[SHIFTED[letter]]
            self.event("rawKeyDown", "Shift", "ShiftLeft", 0x10, SHIFT)
            self.stroke(key, letter, SHIFT)
            self.event("keyUp", "Shift", "ShiftLeft", 0x10, 0)
            return bytes([LEFT_SHIFT]) + down_up(key) + bytes([LEFT_SHIFT | 0x80])
        self.stroke(KEYS[letter], letter, 0)
        return down_up(KEYS[letter])

    def stroke(self, key: Key, letter: str, modifiers: int) -> None:
        self.event("keyDown", letter, key.code, key.virtual, modifiers, text=letter)
        self.event("keyUp", letter, key.code, key.virtual, modifiers)

    def event(
        self, kind: str, key: str, code: str, virtual: int, modifiers: int, location: int = 0, text: str = ""
    ) -> None:
        more = {"text": text, "unmodifiedText": text} if text else {}
        self.session.send("Input.dispatchKeyEvent", {
            "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": virtual, "modifiers": modifiers,
            "location": location, **more,
        })  # fmt: skip


def down_up(key: Key) -> bytes:
    return bytes([key.scancode, key.scancode | 0x80])


def keyboard(page: Page, system: str = "linux") -> Azerty:
    return Azerty(page, windows=system == "windows")


def become(page: Page, system: str) -> None:
    """Let the browser say that it runs on another system."""
    session = page.context.new_cdp_session(page)
    agent = page.evaluate("navigator.userAgent").replace("X11; Linux x86_64", "Windows NT 10.0; Win64; x64")
    session.send("Emulation.setUserAgentOverride", {"userAgent": agent, "platform": SYSTEMS[system]})
