"""What a VNC client sends to what of it may reach the machine: all, or nothing that acts (RFC 6143, and QEMU's own).

The server speaks for itself and passes as it is. A client is shared whatever it asks for: who opens a screen never
throws out who is there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

VERSION = 12  # bytes of "RFB 003.008\n"
OLDEST = b"RFB 003.003\n"  # here the server alone chooses the security type
NO_SECURITY = 1
MOST_TEXT = 1 << 20  # bytes of a clipboard, which QEMU takes no more of either


class Malformed(ValueError):
    """The client sends what no client sends; its connection ends."""


@dataclass(frozen=True)
class Kind:
    """One kind of client message: how many bytes tell its length, how long it is, and whether it acts."""

    head: int
    length: Callable[[bytes], int]
    acts: bool


def fixed(size: int, *, acts: bool) -> Kind:
    """Return a kind whose messages are all `size` bytes long."""
    return Kind(1, lambda _head: size, acts)


def text_length(head: bytes) -> int:
    """Return the size of a clipboard message; a negative length marks the extended form."""
    size = abs(int.from_bytes(head[4:8], "big", signed=True))
    if size > MOST_TEXT:
        raise Malformed("clipboard")
    return 8 + size


def qemu_length(head: bytes) -> int:
    """Return the size of one of QEMU's own messages: a key with its place on the keyboard, or about sound."""
    if head[1] == 0:
        return 12
    if head[1] == 1:
        return 10 if int.from_bytes(head[2:4], "big") == 2 else 4  # noqa: PLR2004  the operation that sets a format
    raise Malformed(f"qemu {head[1]}")


KINDS: Mapping[int, Kind] = {
    0: fixed(20, acts=False),  # SetPixelFormat
    2: Kind(4, lambda head: 4 + 4 * int.from_bytes(head[2:4], "big"), acts=False),  # SetEncodings
    3: fixed(10, acts=False),  # FramebufferUpdateRequest
    4: fixed(8, acts=True),  # KeyEvent
    5: fixed(6, acts=True),  # PointerEvent
    6: Kind(8, text_length, acts=True),  # ClientCutText
    150: fixed(10, acts=False),  # EnableContinuousUpdates
    248: Kind(9, lambda head: 9 + head[8], acts=False),  # ClientFence
    250: fixed(4, acts=True),  # xvp: power
    251: Kind(7, lambda head: 8 + 16 * head[6], acts=True),  # SetDesktopSize
    255: Kind(4, qemu_length, acts=True),
}


class ClientFilter:
    """Reads one client's bytes, cut anywhere, and gives what may pass. Keeps no more than the head of a message."""

    def __init__(self, *, view_only: bool) -> None:
        self._view_only = view_only
        self._greeting = bytearray()
        self._greeted = False
        self._held = b""  # the beginning of what cannot be judged yet
        self._rest, self._drop = 0, False  # bytes to come of a message that was judged

    def feed(self, data: bytes) -> bytes:
        """Return what of `data`, and of what was held back before, may pass. Raises Malformed."""
        passed = b""
        if not self._greeted:
            passed, data = self._greet(data)
        if data:
            passed += self._judge(data) if self._view_only else data
        return passed

    def _greet(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what passes of version, security type and ClientInit, and the rest.

        Each step waits for the server's, so each must pass when it comes. The last says that the screen is shared.
        """
        before = len(self._greeting)
        self._greeting += data[: VERSION + 2 - before]
        seen = bytes(self._greeting)
        if not seen.startswith(b"RFB 003."[: len(seen)]):
            raise Malformed("version")
        if len(seen) < VERSION:
            return data, b""
        chosen = int(seen[:VERSION] != OLDEST)
        if chosen and len(seen) > VERSION and seen[VERSION] != NO_SECURITY:
            raise Malformed("security")
        size = VERSION + chosen + 1
        if len(seen) < size:
            return data, b""
        self._greeted = True
        return seen[before : size - 1] + b"\1", data[size - before :]

    def _judge(self, data: bytes) -> bytes:
        """Return the messages that act on nothing."""
        passed = bytearray()
        data, at = self._held + data, 0
        while at < len(data):
            if not self._rest:
                kind = KINDS.get(data[at])
                if kind is None:
                    raise Malformed(f"message {data[at]}")
                head = data[at : at + kind.head]
                if len(head) < kind.head:
                    break
                self._rest, self._drop = kind.length(head), kind.acts
            taken = data[at : at + self._rest]
            if not self._drop:
                passed += taken
            self._rest -= len(taken)
            at += len(taken)
        self._held = data[at:]
        return bytes(passed)
