"""Disks of 512 bytes that boot a program of twenty: guests that need no operating system."""

from pathlib import Path

# write '>' to the first serial port, then send back every byte that arrives there
_ECHO = bytes.fromhex("baf803 b03e ee bafd03 ec a801 74f8 baf803 ec ee ebf1")
# write 64 sectors of memory by BIOS function 43h, from sector 64 on, and again 64 further, for ever
_WRITER = bytes.fromhex("31c0 8ed8 be167c b80043 b280 cd13 6683061e7c40 ebee 10004000 00800000 4000000000000000")

# greet with '>'; then '?' asks for the first byte of the second disk (BIOS functions 42h, 43h), any other byte is kept
# there; '!' says that the BIOS could not
_KEEPER = bytes.fromhex(
    "31c0 8ed8 b03e baf803 ee bafd03 ec a801 74fb baf803 ec 3c3f 740f a2007e b80043 e81400 b03d 720c ebdd b442 e80900"
    "a0007e 73d3 b021 ebcf be3f7c b281 cd13 c3 1000 0100 007e 0000 0000000000000000"
)


def _write(path: Path, program: bytes, size: int) -> Path:
    path.write_bytes(program.ljust(510, b"\0") + b"\x55\xaa")
    with path.open("r+b") as disk:
        disk.truncate(size)
    path.chmod(0o666)  # the private daemon's guests run as another user
    return path


def write_echo_disk(path: Path) -> Path:
    """Write a disk whose guest greets with ">" and echoes on its serial port."""
    return _write(path, _ECHO, 64 * 1024)


def write_keeper_disk(path: Path) -> Path:
    """Write a disk whose guest greets with ">", keeps a byte on its second disk, says "=", and tells it on "?".

    SeaBIOS gives a guest those disks alone that are in its boot order.
    """
    return _write(path, _KEEPER, 16 * 1024 * 1024)


def write_greedy_disk(path: Path) -> Path:
    """Write a sparse disk of 64 MiB whose guest fills it at once."""
    return _write(path, _WRITER, 64 * 1024 * 1024)


def disk_xml(path: Path) -> str:
    return (
        "<disk type='file' device='disk'><driver name='qemu' type='raw' error_policy='enospace'/>"
        f"<source file='{path}'/><target dev='hda' bus='ide'/></disk>"
    )
