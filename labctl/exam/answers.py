"""Values drawn for all candidates and what one of them wrote to what a jury should look at: answers of somebody else.

A finding is a question for the interview and never a verdict: a value may be in a file by chance.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from labctl.exam.evidence.difference import Change, Difference
from labctl.topology.variants import Value

SHORTEST = 4  # letters or digits of a value that does not stand everywhere by chance
MOST = 100  # findings of one candidate

Drawn = Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True)
class Borrowed:
    """A value of another candidate in what this one wrote: whose it is, its variant, and where it stands."""

    candidate: str
    variant: str
    value: str
    node: str
    path: str

    def to_dict(self) -> dict[str, JsonValue]:
        """Return it as JSON has it."""
        return {
            "candidate": self.candidate, "variant": self.variant, "value": self.value, "node": self.node,
            "path": self.path,
        }  # fmt: skip


def find_collisions(number: str, drawn: Drawn) -> tuple[str, ...]:
    """Return the candidates who have the very same values as this one: nothing where nothing varies."""
    own = drawn.get(number)
    return tuple(other for other, values in drawn.items() if own and other != number and dict(values) == dict(own))


def find_borrowed(number: str, drawn: Drawn, differences: Sequence[Difference]) -> Iterator[Borrowed]:
    """Yield values that others have drawn, and this one has not, in lines that were written since the start."""
    own = {str(value) for value in drawn.get(number, {}).values()}
    wanted: dict[str, list[tuple[str, str]]] = {}
    for other, values in drawn.items():
        for variant, value in values.items() if other != number else ():
            if str(value) not in own and len(str(value)) >= SHORTEST:
                wanted.setdefault(str(value), []).append((other, variant))
    if not wanted:
        return
    # The longest first: a name that begins with another one is that one alone.
    words = "|".join(re.escape(value) for value in sorted(wanted, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w.-])(?:{words})(?![\w-])")
    count = 0
    for difference in differences:
        for change in difference.work:
            for value in dict.fromkeys(pattern.findall(written(change))):
                for other, variant in wanted[value]:
                    count += 1
                    if count > MOST:
                        return
                    yield Borrowed(other, variant, value, difference.node, change.path)


def written(change: Change) -> str:
    """Return the lines of a file that were not there before."""
    before = set((change.before.text or "").splitlines()) if change.before else set()
    after = (change.after.text or "").splitlines() if change.after else []
    return "\n".join(line for line in after if line not in before)
