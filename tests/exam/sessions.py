"""Sessions of a few candidates, and a clock that stands until it is told to go on."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import JsonValue

from labctl.exam.moments import Reading
from labctl.exam.session import Session, create_session

START = datetime(2027, 5, 18, 6, 30, tzinfo=UTC)
MINUTES: dict[str, JsonValue] = {"preparation": 30.0, "interview": 20.0, "practical": 60.0, "recette": 20.0}


@dataclass
class HandClock:
    """A clock that goes on by hand; `sleep` takes no time but the one it is told to."""

    hour: datetime = START
    steady: float = 1000.0
    boot: str = "boot-1"

    def read(self) -> Reading:
        return Reading(self.hour, self.boot, self.steady)

    def sleep(self, seconds: float) -> None:
        self.go(seconds)

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.hour += timedelta(seconds=seconds)
        self.steady += seconds

    def set(self, seconds: float) -> None:
        """Set the hour forward, or back, as somebody does who sets the host's clock."""
        self.hour += timedelta(seconds=seconds)


def about(count: int = 3, **changes: JsonValue) -> dict[str, JsonValue]:
    """Return the facts of a session: candidates 001, 002…; the second has a third more time."""
    listed: list[JsonValue] = [
        {
            "number": f"{place:03}", "owner": f"c{place:03}", "lab": f"small-c{place:03}", "pauses": True,
            "minutes": {k: float(v) * (4 / 3 if place == 2 else 1) for k, v in MINUTES.items() if isinstance(v, float)},
            "factor": "4/3" if place == 2 else "1", "language": "",
        }
        for place in range(1, count + 1)
    ]  # fmt: skip
    facts: dict[str, JsonValue] = {
        "exam": "e6-small", "version": "1.0", "number": "E6", "year": 2027, "topology": "small",
        "title_en": "A small exam", "title_fr": "Un petit examen", "rehearsal": False, "minute": 60.0, "grace": 30,
        "retention": 365, "files": {}, "candidates": listed,
    }  # fmt: skip
    return {**facts, **changes}


def make_session(home: Path, clock: HandClock, count: int = 3, **changes: JsonValue) -> Session:
    """Return a session that was just created."""
    return create_session(home, "e6", about(count, **changes), clock)
