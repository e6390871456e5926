"""Whom a document of the jury is about: candidates with their names, and the values that they have drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from labctl.exam.load import Paper
from labctl.topology.variants import Value


@dataclass(frozen=True)
class Names:
    """The names of candidates by number, where the list has some: for documents of the jury alone."""

    known: Mapping[str, str] = field(default_factory=dict, repr=False)

    def show(self, number: str) -> str:
        """Return a number, with the name where there is one."""
        name = self.known.get(number, "")
        return f"{number} – {name}" if name else number


def name_drawn(paper: Paper, values: Mapping[str, Value], language: str) -> tuple[tuple[str, str], ...]:
    """Return the title of each value that a candidate has drawn, with the value, in the order of the files."""
    return tuple(
        (one.title.pick(language), str(values[name])) for name, one in paper.topology.variants.items() if name in values
    )
