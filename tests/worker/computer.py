"""A real QEMU of 32 MiB without libvirt or a disk: shows a text, sleeps, and tells which keys its guest was given."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.worker.machines import Machines

QEMU = shutil.which("qemu-system-x86_64") or ""
SHOWN = b"debian login: "
GRAPHIC = bytes.fromhex("b8024fbb4401cd10")  # VBE mode 0x144: 1024 by 768, 32 bits for each pixel
PATIENCE = 180.0  # seconds; a moment, unless the host is full of other machines

# 16-bit code at 0x7c00. It hides the cursor, writes the text that follows, then sleeps. Each interrupt of the keyboard
# writes the scancode that it was given to the serial port, and to the screen as a letter. A "!" says that it listens.
START = bytes.fromhex("fa31c08ed88ed0bc007cb401b90020cd10")
WRITE = bytes.fromhex("be0000ac84c07406b40ecd10ebf5")
HOOK = bytes.fromhex("c706240000008c1e2600")
LISTENS = bytes.fromhex("b021baf803ee")
SLEEP = bytes.fromhex("fbf4ebfd")
HANDLER = bytes.fromhex("601ee460baf803eebb00b88edba2800cb020e6201f61cf")
LOADED = 0x7C00


def boot_sector(*, graphic: bool) -> bytes:
    """Return the program of a machine, as the first sector of a floppy disk."""
    head = START + (GRAPHIC if graphic else b"")
    handler = LOADED + len(head + WRITE + HOOK + LISTENS + SLEEP)
    text = handler + len(HANDLER)
    write = WRITE[:1] + text.to_bytes(2, "little") + WRITE[3:]
    hook = HOOK[:4] + handler.to_bytes(2, "little") + HOOK[6:]
    code = head + write + hook + LISTENS + SLEEP + HANDLER + (b"" if graphic else SHOWN) + b"\0"
    return code.ljust(510, b"\0") + b"\x55\xaa"


class Computer(Machines):
    """The doors to machines of this host, with the screen of a real QEMU."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def scancodes(self) -> bytes:
        """What the keyboard gave the guest: scancodes of set 1, a released key has bit 7."""
        return (self.folder / "keys").read_bytes()

    def forget(self) -> None:
        """Forget the keys."""
        with (self.folder / "keys").open("r+b") as keys:
            keys.truncate()

    def open_graphics(self, lab: str, node: str) -> socket.socket:  # noqa: ARG002
        """Return one more connection to the screen, as libvirt does."""
        opened = socket.socket(socket.AF_UNIX)
        opened.connect(str(self.folder / "vnc"))
        return opened


@contextmanager
def run_computer(folder: Path, *, graphic: bool = False) -> Iterator[Computer]:
    """Give a machine that shows its text and waits for keys."""
    (folder / "floppy").write_bytes(boot_sector(graphic=graphic))
    (folder / "keys").touch()
    argv = [
        QEMU, "-machine", "pc", "-accel", "tcg", "-m", "32", "-vga", "std", "-display", "none", "-nic", "none",
        "-monitor", "none", "-drive", f"if=floppy,format=raw,readonly=on,file={folder / 'floppy'}", "-boot", "a",
        "-vnc", f"unix:{folder / 'vnc'}", "-chardev", f"file,id=keys,append=on,path={folder / 'keys'}",
        "-serial", "chardev:keys",
    ]  # fmt: skip
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            computer = Computer(folder)
            until = time.monotonic() + PATIENCE
            while computer.scancodes != b"!":
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            computer.forget()
            yield computer
        finally:
            process.kill()
