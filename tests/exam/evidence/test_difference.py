"""Configurations of real disks are compared, and told so that a jury can read it and nothing hurts a terminal."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageFile
from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.exam.evidence.difference import Difference, Sort, find_difference, write_difference
from labctl.exam.evidence.picture import make_png
from labctl.exam.evidence.tree import Tree, dump_tree, load_tree, read_tree
from tests.images.disks import make_disk, make_overlay, make_tree

KEY_FILE = b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"
GOLDEN: dict[str, bytes | str] = {
    "etc/hosts": b"127.0.0.1 localhost\n",
    "etc/hostname": b"golden\n",
    "etc/nginx/nginx.conf": b"".join(b"line %d\n" % number for number in range(40)),
    "etc/shadow": b"root:$y$old:20000::::::\nbob:!:20000::::::\n",
    "etc/ssh/key": KEY_FILE,
    "etc/blob": bytes(range(256)),
    "etc/link": "->hosts",
    "var/www/index.html": b"<p>",
    "root/secret": b"never read\n",
}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return make_disk(make_tree(tmp_path / "tree", GOLDEN), tmp_path / "base.qcow2")


def differ(base: Path, tmp_path: Path, files: dict[str, bytes], gone: tuple[str, ...] = ()) -> Difference:
    over = make_overlay(base, tmp_path / "over.qcow2", files, gone)
    return find_difference("web", read_tree([base], ["/var/www"]), read_tree([over, base], ["/var/www"]))


def test_what_was_changed_added_and_removed_is_found_and_nothing_else(base: Path, tmp_path: Path) -> None:
    conf = GOLDEN["etc/nginx/nginx.conf"]
    assert isinstance(conf, bytes)
    new = conf.replace(b"line 20\n", b"listen 7080;\n")
    found = differ(
        base, tmp_path, {"/etc/nginx/nginx.conf": new, "/var/www/new": b"hello\n", "/root/secret": b"x"}, ("/etc/link",)
    )
    sorts = {change.path: change.sort for change in found.work if change.path not in {"/etc", "/var/www"}}
    assert sorts == {"/etc/nginx/nginx.conf": Sort.CHANGED, "/var/www/new": Sort.ADDED, "/etc/link": Sort.REMOVED}
    text = write_difference(found)
    assert "-line 20\n+listen 7080;" in text
    assert "line 10" not in text
    assert "+hello" in text
    assert "- -> hosts" in text
    assert "secret" not in text
    data = found.to_dict()["work"]
    assert isinstance(data, list)
    assert len(data) == len(found.work)


def test_secrets_are_told_by_their_hashes_alone(base: Path, tmp_path: Path) -> None:
    found = differ(
        base,
        tmp_path,
        {"/etc/shadow": b"root:$y$new:20001::::::\nbob:!:20000::::::\n", "/etc/ssh/key": KEY_FILE + b"d"},
    )
    text = write_difference(found)
    assert "$y$" not in text
    assert "+root:…:20001" in text
    assert "PRIVATE KEY" not in text
    assert "sha256:" in text


def test_letters_that_a_terminal_would_obey_are_shown_by_number(base: Path, tmp_path: Path) -> None:
    text = write_difference(differ(base, tmp_path, {"/etc/hosts": "\x1b[2J\u202egnp.exe\x07\n".encode()}))
    assert "\\x1b[2J\\u202egnp.exe\\x07" in text
    assert "\x1b" not in text


def test_binary_files_are_told_by_size_and_hash(base: Path, tmp_path: Path) -> None:
    text = write_difference(differ(base, tmp_path, {"/etc/blob": bytes(10)}))
    assert "- 256 bytes" in text
    assert "+ 10 bytes" in text


def test_what_labctl_made_before_the_start_is_told_apart(base: Path, tmp_path: Path) -> None:
    start = make_overlay(base, tmp_path / "start.qcow2", {"/etc/hostname": b"own\n"})
    end = make_overlay(base, tmp_path / "end.qcow2", {"/etc/hostname": b"own\n", "/etc/hosts": b"10.0.0.1 x\n"})
    trees = [read_tree(chain, []) for chain in ([base], [end, base], [start, base])]
    found = find_difference("web", *trees)
    assert {change.path for change in found.work if change.path != "/etc"} == {"/etc/hosts"}
    assert {change.path for change in found.early if change.path != "/etc"} == {"/etc/hostname"}
    text = write_difference(found)
    assert text.index("/etc/hosts") < text.index("/etc/hostname")


def test_a_tree_is_the_same_after_it_was_written_and_read(base: Path) -> None:
    tree = read_tree([base], ["/var/www"])
    assert tree.entries["/etc/hosts"].text == "127.0.0.1 localhost\n"
    assert load_tree(dump_tree(tree)) == tree
    rubbish: list[JsonValue] = [{}, [], {"entries": 3, "unread": []}, {"entries": {"/etc": 3}, "unread": []}]
    for one in rubbish:
        with pytest.raises((KeyError, TypeError, ValueError)):
            load_tree(one)


def test_a_disk_that_cannot_be_read_is_no_difference_but_is_said(base: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.qcow2"
    spoilt.write_bytes(b"no disk")
    found = find_difference("web", read_tree([base], []), read_tree([spoilt, base], []))
    assert not found.work
    assert "spoilt.qcow2" in " ".join(found.unread)
    assert "spoilt.qcow2" in write_difference(found)


def test_nothing_changed_is_said(base: Path) -> None:
    tree = read_tree([base], [])
    found = find_difference("web", tree, tree)
    assert not found.work
    assert len(write_difference(found).splitlines()) == 5
    assert find_difference("web", Tree({}), tree).work == ()


def test_a_picture_is_written_anew() -> None:
    points = bytes(range(2 * 3 * 3))
    given = b"P6\n# made by QEMU\n2 3\n255\n" + points + b"trailing"
    png = make_png(given)
    with Image.open(BytesIO(png), formats=("PNG",)) as found:
        assert (found.size, found.mode, found.tobytes()) == ((2, 3), "RGB", points)
    assert make_png(png + b"trailing") == png  # newer ones of QEMU give a PNG


@pytest.mark.parametrize(
    "picture",
    [b"", b"P6\n2 2\n255\n123", b"<svg/>", b"P6\n0 5\n255\n", b"P6\n99999 99999\n255\n", b"\x89PNG\r\n\x1a\n"],
)
def test_what_is_no_picture_is_refused(picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as it is once WeasyPrint was imported
    with pytest.raises(LabctlError):
        make_png(picture)
