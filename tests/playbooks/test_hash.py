"""What the roles are is told by their files: names and content, and nothing that an editor or Python leaves beside."""

from pathlib import Path

import pytest

from labctl import playbook
from labctl.playbook import Watched, playbooks_hash


def test_the_hash_is_of_names_and_content(tmp_path: Path) -> None:
    tasks = tmp_path / "web_server" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "main.yml").write_text("one\n")
    first = playbooks_hash(tmp_path)
    (tasks / ".#main.yml").symlink_to("somebody@nowhere.1234")  # as Emacs marks a file that is being edited
    (tasks / "__pycache__").mkdir()
    (tasks / "__pycache__" / "left.pyc").write_text("three\n")
    assert playbooks_hash(tmp_path) == first
    (tasks / "main.yml").write_text("two\n")
    second = playbooks_hash(tmp_path)
    (tasks / "main.yml").rename(tasks / "other.yml")
    assert len({first, second, playbooks_hash(tmp_path)}) == 3
    (tasks / "other.yml").rename(tasks / "main.yml")
    (tasks / "main.yml").write_text("one\n")
    assert playbooks_hash(tmp_path) == first


def test_a_change_is_seen_once_what_was_seen_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.yml").write_text("one\n")
    watched = Watched(tmp_path)
    first = watched.hash()
    (tmp_path / "main.yml").write_text("two\n")
    assert watched.hash() == first
    monkeypatch.setattr(playbook, "GOOD_FOR", 0.0)
    watched = Watched(tmp_path)
    second = watched.hash()
    (tmp_path / "main.yml").write_text("three\n")
    assert len({first, second, watched.hash()}) == 3
