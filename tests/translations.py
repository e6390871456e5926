"""Turns the sentences of the source into the French catalogue: `python -m tests.translations` adds what is new.

Click's own sentences are part of the catalogue: the command line must speak one language.
"""

import sys
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import click
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).parent.parent / "labctl"
FOLDER = PACKAGE / "locale" / "fr" / "LC_MESSAGES"
PO, MO = FOLDER / "labctl.po", FOLDER / "labctl.mo"
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
ALWAYS = datetime(2026, 1, 1, tzinfo=UTC)  # a real date would change the file at every run
CLICK_SKIPS = {"testing.py"}


def extract() -> Catalog:
    """Return the messages of labctl and of click, without locations: they would change with every line."""
    catalog = Catalog(project="labctl", fuzzy=False)
    click_folder = Path(click.__file__).parent
    for folder in (PACKAGE, click_folder):
        for name, _line, message, comments, _context in extract_from_dir(str(folder), keywords=KEYWORDS):
            if folder is PACKAGE or name not in CLICK_SKIPS:
                catalog.add(message, auto_comments=comments)
    return catalog


def read_catalogue() -> Catalog:
    """Return the French catalogue as it is."""
    if not PO.exists():
        return Catalog(locale="fr", project="labctl", fuzzy=False)
    with PO.open("rb") as stream:
        return read_po(stream, locale="fr")


def compiled(catalog: Catalog) -> bytes:
    """Return the binary catalogue that the program reads."""
    buffer = BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def update() -> int:
    """Add new messages, drop gone ones, compile; return how many are not translated."""
    catalog = read_catalogue()
    catalog.update(extract(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.creation_date = catalog.revision_date = ALWAYS
    FOLDER.mkdir(parents=True, exist_ok=True)
    with PO.open("wb") as stream:
        write_po(stream, catalog, width=100, sort_output=True, no_location=True, omit_header=False)
    MO.write_bytes(compiled(catalog))
    return sum(1 for message in catalog if message.id and not is_translated(message.string))


def is_translated(text: str | tuple[str, ...] | list[str]) -> bool:
    """Return whether every form has a text."""
    return all(text) if isinstance(text, tuple | list) else bool(text)


if __name__ == "__main__":
    missing = update()
    print(f"{missing} messages wait for their French in {PO}")
    sys.exit(bool(missing))
