"""File systems and disks are read as the kernel would, and hostile ones are refused."""

import os
import random
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from labctl.images.ext4 import Ext4, find_root
from labctl.images.qcow2 import Disk, DiskUnreadable, Qcow2Blocks, RawBlocks
from tests.images.disks import debugfs, make_disk, make_filesystem, make_overlay, make_tree

BIG = bytes(random.Random(7).randbytes(300_000))
FILES: dict[str, bytes | str] = {
    "etc/hosts": b"127.0.0.1 localhost\n",
    "etc/big": BIG,
    "etc/empty": b"",
    "etc/link": "->hosts",
    "etc/long": "->" + "x/" * 60 + "end",
    "etc/deep/a/b/c": b"c",
    "srv/page": b"<p>",
}


def content(system: Ext4, path: str) -> bytes:
    inode = system.find(path.encode())
    assert inode, path
    return b"".join(system.read(inode, 1 << 30))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = make_tree(tmp_path / "tree", FILES)
    with (made / "etc/holes").open("wb") as file:
        file.seek(200_000)
        file.write(b"end")
    for number in range(500):
        (made / f"etc/many-{number:04}").write_bytes(str(number).encode())
    (made / "etc/hosts").chmod(0o640)
    return made


def test_a_tree_is_read_as_it_was_written(tree: Path, tmp_path: Path) -> None:
    system = Ext4(RawBlocks(make_filesystem(tree, tmp_path / "image")))
    found = {name.decode(): inode for name, inode in system.walk(b"/")}
    expected = {"/" + str(path.relative_to(tree)) for path in tree.rglob("*")}
    assert set(found) - {"/", "/lost+found"} == expected
    for path in tree.rglob("*"):
        inode = found["/" + str(path.relative_to(tree))]
        facts = path.lstat()
        assert (inode.mode, inode.uid, inode.gid) == (facts.st_mode, facts.st_uid, facts.st_gid)
        if inode.is_link:
            assert system.target(inode).decode() == str(path.readlink())
        elif inode.is_file:
            assert b"".join(system.read(inode, 1 << 30)) == path.read_bytes(), path
    assert stat.S_IMODE(found["/etc/hosts"].mode) == 0o640
    assert len(b"".join(system.read(found["/etc/big"], 1000))) == 1000


@pytest.mark.parametrize("options", ["^64bit", "^metadata_csum", "^flex_bg", "^dir_index"])
def test_file_systems_of_other_features_are_read(tree: Path, tmp_path: Path, options: str) -> None:
    system = Ext4(RawBlocks(make_filesystem(tree, tmp_path / "image", options=options)))
    assert content(system, "/etc/big") == BIG
    assert content(system, "/etc/many-0499") == b"499"


@pytest.mark.parametrize("packed", [False, True])
def test_a_disk_is_read_through_its_overlay(tree: Path, tmp_path: Path, packed: bool) -> None:
    base = make_disk(tree, tmp_path / "base.qcow2", packed=packed)
    overlay = make_overlay(base, tmp_path / "over.qcow2", {"/etc/hosts": b"10.0.0.1 web\n"}, gone=("/srv/page",))
    with Disk([overlay, base]) as disk:
        system = find_root(disk)
        assert content(system, "/etc/hosts") == b"10.0.0.1 web\n"
        assert content(system, "/etc/big") == BIG
        assert system.find(b"/srv/page") is None
        raw = tmp_path / "whole.raw"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, raw], check=True)
        assert disk.read(0, disk.size) == raw.read_bytes()
    with Disk([base]) as disk:
        assert content(find_root(disk), "/etc/hosts") == b"127.0.0.1 localhost\n"


def test_links_on_the_way_are_never_followed(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"real/secret": b"s", "etc": "->/real"})
    system = Ext4(RawBlocks(make_filesystem(tree, tmp_path / "image")))
    assert system.find(b"/etc/secret") is None


def journalled(tree: Path, tmp_path: Path, options: str = "") -> Path:
    """Return a file system with committed blocks in its journal that are not in their places yet."""
    image = make_filesystem(tree, tmp_path / "image", options=options)
    system = Ext4(RawBlocks(image))
    inode = system.find(b"/etc/big")
    assert inode
    (_logical, first, _count), *_rest = system._runs(inode)
    new, other = tmp_path / "new", tmp_path / "other"
    new.write_bytes(b"\xc0\x3b\x39\x98" + b"N" * 4092)  # must be escaped in the journal
    other.write_bytes(b"O" * 4096)
    # An older copy of the third block is revoked; the fourth has a newer copy than its first.
    lines = [
        "jo", f"jw -b {first + 2},{first + 3} {image.parent}/two", f"jw -r {first + 2}",
        f"jw -b {first} {new}", f"jw -b {first + 3} {other}", "jc",
    ]  # fmt: skip
    (tmp_path / "two").write_bytes(b"T" * 8192)
    debugfs(image, lines)
    return image


@pytest.mark.parametrize("options", ["", "^64bit,^metadata_csum"])
def test_the_journal_is_read_as_its_recovery_writes_it(tree: Path, tmp_path: Path, options: str) -> None:
    image = journalled(tree, tmp_path, options)
    mended = shutil.copy(image, tmp_path / "mended")
    done = subprocess.run(["e2fsck", "-E", "journal_only", "-y", mended], capture_output=True, check=False)
    assert done.returncode in {0, 1}, done.stdout
    ours, theirs = Ext4(RawBlocks(image)), Ext4(RawBlocks(Path(mended)))
    assert not theirs._replay.copies
    assert len(ours._replay.copies) >= 2
    found = content(ours, "/etc/big")
    assert found == content(theirs, "/etc/big")
    assert found[:8] == b"\xc0\x3b\x39\x98NNNN"
    assert found[8192:12288] == BIG[8192:12288]
    assert found[12288:16384] == b"O" * 4096


def test_what_was_not_committed_never_was(tree: Path, tmp_path: Path) -> None:
    image = journalled(tree, tmp_path)
    data = bytearray(image.read_bytes())
    commits = [at for at in range(0, len(data), 4096) if data[at : at + 8] == b"\xc0\x3b\x39\x98\0\0\0\2"]
    assert commits
    for at in commits:
        data[at : at + 12] = bytes(12)
    image.write_bytes(data)
    assert content(Ext4(RawBlocks(image)), "/etc/big") == BIG


@pytest.mark.parametrize("seed", range(30))
def test_damage_is_refused_or_survived_within_limits(tree: Path, tmp_path: Path, seed: int) -> None:
    image = make_filesystem(tree, tmp_path / "image")
    dice = random.Random(seed)
    data = bytearray(image.read_bytes())
    for _turn in range(400):  # most of it hits tables: they come first
        data[1024 + int(dice.random() ** 3 * (len(data) - 1024))] = dice.randrange(256)
    image.write_bytes(data)
    with suppress(DiskUnreadable):
        system = Ext4(RawBlocks(image))
        for _name, inode in system.walk(b"/"):
            if inode.is_file:
                assert sum(map(len, system.read(inode, 1 << 20))) <= 1 << 20
            elif inode.is_link:
                system.target(inode)


def test_a_folder_that_holds_itself_ends(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", {"etc/inside/file": b""})
    image = make_filesystem(tree, tmp_path / "image")
    debugfs(image, ["ln /etc /etc/inside/again"])
    with pytest.raises(DiskUnreadable):
        list(Ext4(RawBlocks(image)).walk(b"/"))


def test_a_disk_that_names_host_files_is_refused_or_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 65536)
    disk = tmp_path / "evil.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disk], check=True)
    assert Qcow2Blocks(disk, None).read(0, 512) == bytes(512)
    words: list[str | Path] = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        f"data_file={secret},data_file_raw=on",
        disk,
        "64k",
    ]
    subprocess.run(words, check=True)
    with pytest.raises(DiskUnreadable):
        Qcow2Blocks(disk, None)
    for content_ in (b"", b"QFI\xfb" + bytes(200), os.urandom(4096)):
        disk.write_bytes(content_)
        with pytest.raises(DiskUnreadable):
            Disk([disk])
    with pytest.raises(DiskUnreadable):
        Disk([tmp_path / "nothing"])
