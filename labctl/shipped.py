"""Finds the folders that labctl ships: beside the package in a checkout, inside it once installed from a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped_folder(name: str) -> Path:
    """Return the folder `playbooks`, `topologies` or `exams`."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name
