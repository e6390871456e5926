"""A class list (CSV) to its students, each with a name for labs, or to all of its problems in one error."""

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from labctl.language import LANGUAGES, N_, _
from labctl.topology.problems import Finding, Mark, Problem, ProblemsFound, describe, listing, nearest, quoted
from labctl.topology.text import Source, find_lines, read_bytes, refuse

SEPARATORS = ";\t,"  # French Excel writes the first, Excel's "Unicode text" the second, everybody else the third
LONGEST_ID, LONGEST_TEXT = 64, 200  # characters
LONGEST_SLUG = 31  # characters: the names of machines and folders are made with it
MARK = 6  # hexadecimal digits that tell two ids of one slug apart
SMALLEST_FACTOR, LARGEST_FACTOR = 1, 3
FACTOR = re.compile(r"(\d{1,3})(?:[.,](\d{1,6})|\s*/\s*(\d{1,3}))?")
DECLARED_SEPARATOR = re.compile(r'"?sep=(.)"?')  # a first line that Excel writes for itself
# Letters that have no decomposition in Unicode
LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i", "ħ": "h"})


@dataclass(frozen=True)
class Student:
    """One line of a class list. `slug` names their labs; `time_factor` stretches an exam's times, from 1 to 3.

    `name` is the id where the list gives none; `group` and `language` ("fr", "en") may be empty.
    """

    id: str
    slug: str
    name: str
    group: str
    time_factor: Fraction
    language: str
    line: int


@dataclass(frozen=True)
class Layout:
    """What a list of people has: its columns, each with what is wrong with a cell, and the one that tells people apart.

    That one, `key`, must be there; the others may. `nobody` is what is expected where nobody is listed.
    """

    key: str
    checks: Mapping[str, Callable[[str], Finding | None]]
    nobody: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that are known."""
        return tuple(self.checks)


def load_roster(path: Path) -> tuple[Student, ...]:
    """Return the students of a class list in its order.

    The first line names the columns: `id`, and as wanted `name`, `group`, `time_factor`, `language`.
    Raises ProblemsFound, an InvalidFile, with every problem of the file.
    """
    rows = read_rows(path, STUDENTS)
    slugs = make_slugs(row.text("id") for row in rows)
    return tuple(make_student(row, slugs) for row in rows)


def read_rows(path: Path, layout: Layout) -> tuple["Row", ...]:
    """Return the lines of a list of people. Raises ProblemsFound with every problem of the file."""
    roster = Roster(read_text(path), layout)
    roster.read()
    if roster.problems:
        raise ProblemsFound(roster.problems)
    return tuple(roster.rows)


def read_text(path: Path) -> Source:
    """Return the text of a list in UTF-8, in UTF-16 with its mark, or in Windows-1252, as Excel writes it in France."""
    raw = read_bytes(path)
    return find_lines(path, decode(raw, path))


def decode(raw: bytes, path: Path) -> str:
    """Return bytes as text; Windows-1252 takes nearly anything, so it comes last."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in raw:
        raise refuse(path, _("a text file"), _("a binary file"))
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise refuse(path, _("text in UTF-8 or Windows-1252"), _("another encoding"))


@dataclass(frozen=True)
class Row:
    """One record: the cells by column, without blanks around them, and where they stand."""

    line: int
    cells: Mapping[str, str]
    columns: Mapping[str, int]

    def text(self, column: str) -> str:
        """Return a cell, empty where the row or the list has none."""
        return self.cells.get(column, "")


@dataclass
class Roster:
    """The reading of one file: its rows and the problems found on the way."""

    source: Source
    layout: Layout
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self) -> None:
        """Read the header, then every row that is not empty."""
        records = self.records()
        head = next(records, None)
        if head is None:
            self.find(Mark(1, 1), Finding((), _("a first line with the names of the columns"), _("nothing")))
            return
        names = self.read_head(*head)
        for line, cells in records:
            self.read_row(line, cells, names)
        if not self.rows and not self.problems:
            self.find(Mark(head[0], 1), Finding((), _(self.layout.nobody), _("nothing")))
        self.check_duplicates()

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records that are not empty, each with its first line's number."""
        separator, skipped = self.separator()
        reader = csv.reader(io.StringIO(self.source.text, newline=""), delimiter=separator, strict=True)
        line = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) and line > skipped:
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error:
            finding = Finding((), _("a closing quote, and a separator behind it"), _("something else"))
            self.find(Mark(line, 1), finding)

    def separator(self) -> tuple[str, int]:
        """Return what separates the cells, and how many lines at the top only say so."""
        first = next((line for line in self.source.lines if line.strip()), "")
        if (declared := DECLARED_SEPARATOR.fullmatch(first.strip())) and declared[1] in SEPARATORS:
            return declared[1], self.source.lines.index(first) + 1

        def known(separator: str) -> tuple[int, int]:
            names = [plain(name) for name in first.split(separator)]
            return len({*names} & {*self.layout.columns}), len(names)

        return max(SEPARATORS, key=known), 0

    def read_head(self, line: int, cells: list[str]) -> list[str]:
        """Return the name of each column, empty for one without; note those that are unknown, twice or missing."""
        names = [plain(cell) for cell in cells]
        places = self.places(line, cells)
        key, known = self.layout.key, self.layout.columns
        for name, cell, column in zip(names, cells, places, strict=True):
            if name and name not in known:
                expected = _("one of the columns {names}").format(names=", ".join(known))
                self.find(Mark(line, column), Finding((), expected, quoted(cell.strip()), nearest(name, known)))
        for name, count in Counter(filter(None, names)).items():
            if count > 1 and name in known:
                column = places[len(names) - 1 - names[::-1].index(name)]
                found = _("the column {name} again").format(name=quoted(name))
                self.find(Mark(line, column), Finding((), _("each column once"), found))
        if key not in names:
            text = _('a column "{name}"').format(name=key)
            self.find(Mark(line, 1), Finding((), text, listing(filter(None, names)) or _("nothing")))
        return names

    def read_row(self, line: int, cells: list[str], names: list[str]) -> None:
        """Add one row and note what is wrong with its cells."""
        values, columns = {}, {}
        for number, (cell, column) in enumerate(zip(cells, self.places(line, cells), strict=True)):
            name = names[number] if number < len(names) else ""
            text = unicodedata.normalize("NFC", cell.strip())
            if not name and text:
                self.find(Mark(line, column), Finding((), _("no more cells than the first line names"), quoted(text)))
            values[name], columns[name] = text, column
        row = Row(line, values, columns)
        self.rows.append(row)
        for name, check in self.layout.checks.items():
            if name in names and (finding := check(row.text(name))) is not None:
                self.find(Mark(line, columns.get(name, 1)), finding)

    def places(self, line: int, cells: list[str]) -> list[int]:
        """Return the column, counted from 1, at which each cell of a record begins in its first line."""
        text = self.source.lines[line - 1]
        found, start = [], 0
        for cell in cells:
            shown = cell.strip().partition("\n")[0].partition('"')[0]  # an inner quote is written twice
            at = text.find(shown, start)
            at = start if at < 0 else at
            found.append(min(at, len(text)) + 1)
            start = at + len(shown) + 1
        return found

    def check_duplicates(self) -> None:
        """Note ids that differ in nothing, or only in capitals: they are one person."""
        first: dict[str, int] = {}
        key, expected = self.layout.key, _("each {name} once").format(name=self.layout.key)
        for row in self.rows:
            text = row.text(key)
            if text and first.setdefault(text.casefold(), row.line) != row.line:
                found = _("{id} again, as in line {line}").format(id=quoted(text), line=first[text.casefold()])
                self.find(Mark(row.line, row.columns.get(key, 1)), Finding((key,), expected, found))

    def find(self, mark: Mark, finding: Finding) -> None:
        """Add a problem."""
        self.problems.append(self.source.problem(mark, finding))


def plain(name: str) -> str:
    """Return the name of a column as it is compared."""
    return name.strip().strip('"').strip().casefold()


def check_id(column: str, text: str) -> Finding | None:
    """Return what is wrong with what tells a person from others."""
    if not text:
        return Finding((column,), _("an id"), describe(text))
    if len(text) > LONGEST_ID:
        return Finding((column,), _("at most {count} characters").format(count=LONGEST_ID), quoted(text))
    if not make_slug(text):
        return Finding((column,), _("an id with a letter or digit from a-z and 0-9"), quoted(text))
    return None


def check_text(column: str, text: str) -> Finding | None:
    """Return what is wrong with a text that is only shown."""
    if len(text) > LONGEST_TEXT:
        return Finding((column,), _("at most {count} characters").format(count=LONGEST_TEXT), quoted(text))
    return None


def check_factor(text: str) -> Finding | None:
    """Return what is wrong with a time factor."""
    factor = read_factor(text)
    if factor is None or not SMALLEST_FACTOR <= factor <= LARGEST_FACTOR:
        return Finding(("time_factor",), _("a number from 1 to 3, such as 4/3 or 1.33"), quoted(text))
    return None


def check_language(text: str) -> Finding | None:
    """Return what is wrong with a language."""
    if text and text.lower() not in LANGUAGES:
        expected = _("one of {names}").format(names=", ".join(LANGUAGES))
        return Finding(("language",), expected, quoted(text), nearest(text, LANGUAGES))
    return None


STUDENTS = Layout(
    key="id",
    checks={
        "id": lambda text: check_id("id", text),
        "name": lambda text: check_text("name", text),
        "group": lambda text: check_text("group", text),
        "time_factor": check_factor,
        "language": check_language,
    },
    nobody=N_("at least one student below the first line"),
)


def read_factor(text: str) -> Fraction | None:
    """Return "4/3", "1,33" or "1.33" as a number, 1 for no text, None for anything else."""
    if not text:
        return Fraction(1)
    found = FACTOR.fullmatch(text)
    if not found or (found[3] and int(found[3]) == 0):
        return None
    if found[3]:
        return Fraction(int(found[1]), int(found[3]))
    return Fraction(f"{found[1]}.{found[2] or 0}")


def make_student(row: Row, slugs: Mapping[str, str]) -> Student:
    """Return the student of a row without problems."""
    identity = row.text("id")
    return Student(
        id=identity, slug=slugs[identity], name=row.text("name") or identity, group=row.text("group"),
        time_factor=read_factor(row.text("time_factor")) or Fraction(1), language=row.text("language").lower(),
        line=row.line,
    )  # fmt: skip


def make_slug(text: str) -> str:
    """Return a text in the letters a-z, digits and single dashes, at most 31 of them; empty where none is left."""
    spread = unicodedata.normalize("NFKD", text.casefold().translate(LETTERS)).casefold()
    letters = "".join(char for char in spread if not unicodedata.combining(char))
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:LONGEST_SLUG].rstrip("-")


def make_slugs(ids: Iterable[str]) -> Mapping[str, str]:
    """Return a slug for each id, all different.

    Where several ids have one slug, it goes to the id that is the slug itself, if there is one; the
    others get a mark from their own id. The order of the list makes no difference: a student who comes
    or goes never gives one student's lab to another.
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for one in sorted(set(ids)):
        groups[make_slug(one)].append(one)
    slugs = {one: slug for slug, group in groups.items() for one in group if len(group) == 1 or one.casefold() == slug}
    taken = {*slugs.values()}
    for slug, group in groups.items():
        for one in group:
            if one not in slugs:
                slugs[one] = mark_slug(slug, one, taken)
                taken.add(slugs[one])
    return slugs


def mark_slug(slug: str, identity: str, taken: set[str]) -> str:
    """Return the slug with a mark of the id, a longer one where somebody is called just so."""
    digest = sha256(identity.encode()).hexdigest()
    for length in range(MARK, LONGEST_SLUG - 1):
        marked = f"{slug[: LONGEST_SLUG - length - 1].rstrip('-')}-{digest[:length]}"
        if marked not in taken:
            return marked
    raise AssertionError(identity)  # it would take thousands of ids that imitate this one
