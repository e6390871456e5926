"""Whether the owner of a lab may reach it now: during an exam only between its start and its freeze.

A file says so, because those who decide and those who serve consoles are other processes, and either may be restarted.
"""

from pathlib import Path

from labctl.lab.files import explain_files

FOLDER = "barred"  # in the home folder; one empty file for each lab whose owner is kept out


def bar_file(home: Path, lab: str) -> Path:
    """Return the file that keeps the owner of a lab out while it exists."""
    return home / FOLDER / lab


def bar(home: Path, lab: str) -> None:
    """Keep the owner of a lab out."""
    with explain_files(home):
        bar_file(home, lab).parent.mkdir(mode=0o700, exist_ok=True)
        bar_file(home, lab).touch(mode=0o600)


def unbar(home: Path, lab: str) -> None:
    """Let the owner of a lab in."""
    with explain_files(home):
        bar_file(home, lab).unlink(missing_ok=True)


def barred_labs(home: Path) -> frozenset[str]:
    """Return the labs whose owners are kept out."""
    try:
        return frozenset(path.name for path in (home / FOLDER).iterdir())
    except FileNotFoundError:
        return frozenset()


def is_barred(home: Path, lab: str) -> bool:
    """Return whether the owner of a lab is kept out."""
    return bar_file(home, lab).exists()
