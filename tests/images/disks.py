"""Small real disks for tests: an ext4 file system on a partition, in a qcow2 file, and an overlay on it."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

MIB = 1 << 20
START = 2048 * 512


def make_tree(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write files below a folder; a text that begins with -> is the target of a link."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.symlink_to(content.removeprefix("->"))
    return folder


def make_filesystem(tree: Path, path: Path, *, mib: int = 16, start: int = 0, options: str = "") -> Path:
    """Write a raw image whose ext4 file system, from the byte `start` on, holds a tree."""
    with path.open("wb") as file:
        file.truncate(start + mib * MIB)
    words: list[str | Path] = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        "4096",
        "-I",
        "256",
        "-J",
        "size=4",
        "-d",
        tree,
    ]
    words += ["-O", options] if options else []
    subprocess.run([*words, "-E", f"offset={start}", path, f"{mib * 1024}k"], check=True, capture_output=True)
    return path


def make_disk(tree: Path, path: Path, *, mib: int = 16, packed: bool = False) -> Path:
    """Write a qcow2 disk with a partition table and one file system, as images are."""
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(START + mib * MIB)
    subprocess.run(["sfdisk", "--quiet", raw], input=b"label: dos\nstart=2048, type=83\n", check=True)
    whole = raw.read_bytes()[:START]
    make_filesystem(tree, raw, mib=mib, start=START)
    with raw.open("r+b") as file:
        file.write(whole[:512])
    words: list[str | Path] = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        *(["-c"] if packed else []),
        raw,
        path,
    ]
    subprocess.run(words, check=True)
    raw.unlink()
    return path


def make_overlay(base: Path, path: Path, files: Mapping[str, bytes], gone: tuple[str, ...] = ()) -> Path:
    """Write an overlay of a disk in which files were written anew or removed, as a guest would have done."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, path], check=True)
    raw = path.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    lines = [f"rm {name}" for name in gone]
    sources = []
    for number, (name, content) in enumerate(files.items()):
        source = path.with_name(f"{path.stem}-{number}.source")
        source.write_bytes(content)
        sources.append(source)
        lines += [f"rm {name}", f"write {source} {name}"]
    debugfs(raw, lines, start=START)
    write_changes(raw, path)
    for one in (raw, *sources):
        one.unlink()
    return path


def debugfs(raw: Path, lines: list[str], start: int = 0) -> None:
    """Change a file system from outside, without mounting it."""
    image = f"{raw}?offset={start}" if start else str(raw)
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", image], input="\n".join(lines).encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def write_changes(raw: Path, overlay: Path) -> None:
    """Bring what differs in a raw copy of a disk into its overlay, cluster by cluster."""
    before = raw.with_suffix(".before")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, before], check=True)
    old, new = before.read_bytes(), raw.read_bytes()
    commands = []
    for offset in range(0, len(new), 1 << 16):
        part = new[offset : offset + (1 << 16)]
        if part != old[offset : offset + (1 << 16)]:
            piece = raw.with_name(f"{raw.name}.{offset}")
            piece.write_bytes(part)
            commands += ["-c", f"write -s {piece} {offset} {len(part)}"]
    if commands:
        subprocess.run(["qemu-io", "-f", "qcow2", *commands, overlay], check=True, capture_output=True)
    for piece in raw.parent.glob(f"{raw.name}.*"):
        piece.unlink()
    before.unlink()
