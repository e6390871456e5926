"""What a role is made of is told by its files: names and content, its own and borrowed; nothing that is left beside."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from labctl import roles
from labctl.roles import BORROWED, WatchedRoles, role_hashes
from labctl.shipped import shipped_folder


def write_role(playbooks: Path, name: str, tasks: str) -> Path:
    folder = playbooks / "roles" / name / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.yml").write_text(tasks)
    return folder


def test_the_hash_is_of_names_and_content(tmp_path: Path) -> None:
    tasks = write_role(tmp_path, "web_server", "one\n")
    first = role_hashes(tmp_path)
    (tasks / ".#main.yml").symlink_to("somebody@nowhere.1234")  # as Emacs marks a file that is being edited
    (tasks / "__pycache__").mkdir()
    (tasks / "__pycache__" / "left.pyc").write_text("three\n")
    assert role_hashes(tmp_path) == first
    (tasks / "main.yml").write_text("two\n")
    second = role_hashes(tmp_path)
    (tasks / "main.yml").rename(tasks / "other.yml")
    assert len({found["web_server"] for found in (first, second, role_hashes(tmp_path))}) == 3
    (tasks / "other.yml").rename(tasks / "main.yml")
    (tasks / "main.yml").write_text("one\n")
    assert role_hashes(tmp_path) == first


def test_a_role_follows_what_it_borrows_and_no_other_role(tmp_path: Path) -> None:
    write_role(tmp_path, "dns", "lookup('template', role_path ~ '/../../files.sh.j2')\n")
    write_role(tmp_path, "web_server", "lookup('file', role_path ~ '/../dhcp/tasks/main.yml')\n")
    write_role(tmp_path, "dhcp", "one\n")
    (tmp_path / "files.sh.j2").write_text("one\n")
    before = role_hashes(tmp_path)
    (tmp_path / "files.sh.j2").write_text("two\n")
    assert changed(before, role_hashes(tmp_path)) == {"dns"}
    before = role_hashes(tmp_path)
    write_role(tmp_path, "dhcp", "two\n")
    assert changed(before, role_hashes(tmp_path)) == {"dhcp", "web_server"}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {role for role, found in after.items() if found != before[role]}


def test_the_shipped_roles_borrow_only_in_the_way_that_is_followed() -> None:
    """A file that a role reads elsewhere in another way would change without its labs being made anew."""
    borrowing = re.compile(rb"role_path[^'\n]*'[^'\n]*\.\.|playbook_dir|(?:include|import)_role|dependencies: \[[^]]")
    for role in (shipped_folder("playbooks") / "roles").iterdir():
        for file in (path for path in role.rglob("*") if path.is_file()):
            text = file.read_bytes()
            for found in BORROWED.findall(text):
                assert (role / found.decode().lstrip("/")).is_file(), file
            assert borrowing.search(BORROWED.sub(b"", text)) is None, file


def test_a_change_is_seen_once_what_was_seen_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_role(tmp_path, "dns", "one\n")
    watched = WatchedRoles(tmp_path)
    first = watched.hashes()
    write_role(tmp_path, "dns", "two\n")
    assert watched.hashes() == first
    monkeypatch.setattr(roles, "GOOD_FOR", 0.0)
    watched = WatchedRoles(tmp_path)
    second = watched.hashes()
    write_role(tmp_path, "dns", "three\n")
    assert len({found["dns"] for found in (first, second, watched.hashes())}) == 3
