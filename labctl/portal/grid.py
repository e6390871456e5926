"""The JSON of a class grid to the rows of a page; a shape that is not known shows nothing instead of failing."""

from dataclasses import dataclass

from pydantic import BaseModel, JsonValue, ValidationError

THREE_QUARTERS, HALF = 0.75, 0.5


class Cell(BaseModel):
    """Points won out of those that a competency's checks are worth."""

    id: str = ""
    title: str = ""
    points: int = 0
    worth: int = 0
    undecided: int = 0

    @property
    def tone(self) -> str:
        """Return the class of its ground; the figures say the same."""
        share = self.points / self.worth if self.worth else 0.0
        return "good" if share >= THREE_QUARTERS else "info" if share >= HALF else "busy" if self.points else "off"


class Verdict(BaseModel):
    """The ruling of a sheet."""

    ruling: str = ""


class Column(BaseModel):
    """A competency."""

    id: str
    title: str = ""


class Row(BaseModel):
    """One lab; a student without one has only a name."""

    lab: str = ""
    student: str = ""
    competencies: tuple[Cell, ...] = ()
    total: Cell | None = None
    verdict: Verdict | None = None


class Document(BaseModel):
    """What `labctl report --format json` writes of a class."""

    competencies: tuple[Column, ...] = ()
    labs: tuple[Row, ...] = ()
    total: Cell | None = None


@dataclass(frozen=True)
class ShownGrid:
    """The columns, and for each row its cells in their order, None where a lab has nothing of a competency."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Row, tuple[Cell | None, ...]], ...]
    total: Cell | None


def read_grid(grid: JsonValue) -> ShownGrid:
    """Return a grid as it is shown."""
    try:
        document = Document.model_validate(grid)
    except ValidationError:
        document = Document()
    rows = []
    for row in document.labs:
        cells = {cell.id: cell for cell in row.competencies}
        rows.append((row, tuple(cells.get(column.id) for column in document.competencies)))
    return ShownGrid(document.competencies, tuple(rows), document.total)
