"""What the roles are is told by their files: names and content, and nothing that an editor or Python leaves beside."""

from pathlib import Path

from labctl.playbook import playbooks_hash


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
