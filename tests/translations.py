"""Turns the sentences of the source into the French catalogue: `python -m tests.translations` adds what is new.

Click's own sentences are part of the catalogue: the command line must speak one language.
"""

import sys
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
CLICK_SKIPS = {"testing.py"}
PAGES = "portal/templates/**.html.j2"
METHODS = [("**.py", "python"), (PAGES, "jinja2.ext:babel_extract")]
OPTIONS = {PAGES: {"extensions": "jinja2.ext.do", "silent": "false"}}
# No dates and no names of people: they would change the file at every run, and git knows them.
HEADERS = (
    ("Project-Id-Version", "labctl"),
    ("Language", "fr"),
    ("Plural-Forms", "nplurals=2; plural=(n > 1);"),
    ("MIME-Version", "1.0"),
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Transfer-Encoding", "8bit\n"),
)
COMMENT = "# labctl in French. Written by `python -m tests.translations`, which keeps what stands here."


class FrenchCatalog(Catalog):
    """A catalogue with our own header."""

    def __init__(self) -> None:
        super().__init__(locale="fr", project="labctl", header_comment=COMMENT, fuzzy=False)

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        """Return the header."""
        return list(HEADERS)


def extract() -> Catalog:
    """Return the messages of labctl and of click, without locations: they would change with every line."""
    catalog = Catalog(project="labctl", fuzzy=False)
    click_folder = Path(click.__file__).parent
    for folder in (PACKAGE, click_folder):
        found = extract_from_dir(str(folder), method_map=METHODS, options_map=OPTIONS, keywords=KEYWORDS)
        for name, _line, message, comments, _context in found:
            if folder is PACKAGE or name not in CLICK_SKIPS:
                catalog.add(message, auto_comments=comments)
    return catalog


def read_catalogue() -> Catalog:
    """Return the French catalogue as it is, with its own header."""
    catalog = FrenchCatalog()
    if PO.exists():
        with PO.open("rb") as stream:
            for message in read_po(stream, locale="fr"):
                if message.id:
                    catalog.add(message.id, message.string, flags=message.flags, auto_comments=message.auto_comments)
    return catalog


def merge(source: Catalog, known: Catalog) -> Catalog:
    """Return the messages of the source with the French that is known; what the source no longer says is dropped."""
    merged = FrenchCatalog()
    for message in source:
        if message.id:
            found = known.get(message.id)
            # A sentence that became countable, or stopped being so, has to be translated again.
            same = found is not None and isinstance(found.id, tuple) is isinstance(message.id, tuple)
            merged.add(message.id, found.string if found and same else None, auto_comments=message.auto_comments)
    return merged


def written(catalog: Catalog) -> bytes:
    """Return the catalogue as text, for translators."""
    buffer = BytesIO()
    write_po(buffer, catalog, width=100, sort_output=True, no_location=True)
    return buffer.getvalue()


def compiled(catalog: Catalog) -> bytes:
    """Return the binary catalogue that the program reads."""
    buffer = BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def update() -> int:
    """Add new messages, drop gone ones, compile; return how many are not translated."""
    catalog = merge(extract(), read_catalogue())
    FOLDER.mkdir(parents=True, exist_ok=True)
    PO.write_bytes(written(catalog))
    MO.write_bytes(compiled(catalog))
    return sum(not is_translated(message.string) for message in catalog if message.id)


def is_translated(text: str | tuple[str, ...] | list[str] | None) -> bool:
    """Return whether every form has a text."""
    return all(text) if isinstance(text, tuple | list) else bool(text)


if __name__ == "__main__":
    missing = update()
    print(f"{missing} messages wait for their French in {PO}")
    sys.exit(bool(missing))
