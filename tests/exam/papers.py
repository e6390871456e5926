"""A small exam on a small topology, whole or with something wrong in it."""

from functools import cache
from pathlib import Path

from labctl.exam.load import Paper, load_paper
from tests.topology.known import known

HERE = Path(__file__).parent
GOOD, SCENARIO = HERE / "good.yml", HERE / "small.yml"


def write_exam(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the exam and its topology, with parts of its text changed; each part must be there."""
    text = GOOD.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / SCENARIO.name).write_text(SCENARIO.read_text(encoding="utf-8"), encoding="utf-8")
    path = folder / "exam.yml"
    path.write_text(text, encoding="utf-8")
    return path


@cache
def good_paper() -> Paper:
    return load_paper(GOOD, known(), HERE / "nothing")
