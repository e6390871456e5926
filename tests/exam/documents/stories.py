"""A session of three candidates as its log tells it, at several moments: prepared, under way, over."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from labctl.exam.audit import Act, Entry, Step, follow
from labctl.exam.moments import Reading
from labctl.exam.standing import Standing, fold

START = datetime(2027, 5, 18, 6, 30, tzinfo=UTC)
NAMES = {"0101": "Ada Lovelace", "0102": "Bob <Ødegård> & Ñ"}
HOSTILE = 'fire alarm <script>alert(1)</script> {{ 7*7 }} \x1b[2J\u202e"x"'
MINUTES = {"preparation": 30.0, "interview": 20.0, "practical": 60.0, "recette": 20.0}


def about(**changes: JsonValue) -> dict[str, JsonValue]:
    """Return the facts of the creation of a session: the second candidate has a third more, the last no pauses."""
    listed: list[JsonValue] = [
        {
            "number": number, "owner": f"c{number}", "lab": f"small-c{number}", "pauses": number != "0103",
            "minutes": {phase: time * (4 / 3 if number == "0102" else 1) for phase, time in MINUTES.items()},
            "factor": "4/3" if number == "0102" else "1", "language": "en" if number == "0103" else "",
        }
        for number in ("0101", "0102", "0103")
    ]  # fmt: skip
    return {
        "exam": "small-exam", "version": "1.0", "number": "E6", "year": 2027, "topology": "small", "title_en": "A page",
        "title_fr": "Une page", "rehearsal": False, "minute": 60.0, "grace": 30, "retention": 365, "files": {},
        "candidates": listed, **changes,
    }  # fmt: skip


@dataclass
class Story:
    """Writes entries with a clock that goes on by hand."""

    now: datetime = START - timedelta(hours=1)
    entries: list[Entry] = field(default_factory=list)

    def go(self, **lengths: float) -> None:
        """Let time pass."""
        self.now += timedelta(**lengths)

    def add(self, act: Act, step: Step, candidate: str = "", **facts: JsonValue) -> None:
        """Write an entry."""
        steady = (self.now - START).total_seconds() + 10_000
        entry = Entry(0, Reading(self.now, "boot-1", steady), "root (pid 1)", act, step, candidate, facts)
        self.entries.append(follow(self.entries[-1] if self.entries else None, entry))

    def do(self, act: Act, candidate: str = "", **facts: JsonValue) -> None:
        """Write an act that is done, two seconds after it begun; why is told at the beginning, as labctl does."""
        reason = {"reason": facts.pop("reason")} if act in {Act.PAUSE, Act.RESUME} and "reason" in facts else {}
        self.add(act, Step.BEGUN, candidate, **reason)
        self.go(seconds=2)
        self.add(act, Step.DONE, candidate, **facts)

    def freeze(self, candidate: str) -> None:
        """Freeze the work of a candidate whose time is over."""
        self.add(Act.FREEZE, Step.BEGUN, candidate, reason="deadline", left="suspended")
        self.go(seconds=1)
        self.add(Act.FREEZE, Step.NOTED, candidate, suspended=self.now.isoformat(), late=0.2)
        self.go(seconds=9)
        self.add(Act.FREEZE, Step.DONE, candidate, left="suspended", bytes=1 << 20)

    @property
    def standing(self) -> Standing:
        """Return the standing after all that was written."""
        return fold(self.entries)


def prepared(**changes: JsonValue) -> Story:
    """Return a session whose labs were made: one of them is a spare, one failed."""
    story = Story()
    story.add(Act.CREATE, Step.NOTED, "", **about(**changes))
    story.add(Act.PREPARE, Step.BEGUN)
    story.do(Act.PREPARE, "0101", result="ready", recette="holds", isolation="holds")
    story.do(
        Act.PREPARE, "0102", result="spare used", reason="web did not come up", recette="holds", isolation="not checked"
    )
    story.add(Act.PREPARE, Step.FAILED, "0103", reason="no room", error="no room")
    story.add(Act.PREPARE, Step.DONE)
    return story


def under_way(**changes: JsonValue) -> Story:
    """Return a session in the practical phase: one has more time, one stands, one was interrupted."""
    story = prepared(**changes)
    story.do(Act.PREPARE, "0103", result="repaired", reason="no room")
    story.do(Act.SEAL, manifest="ab" * 32)
    story.add(Act.OPEN, Step.NOTED, passphrase="wrong")
    story.do(Act.OPEN, changes=["the encrypted papers were changed"], override="restored from a copy")
    story.now = START
    for number in ("0101", "0102", "0103"):
        story.do(Act.START, number, phase="preparation", began=START.isoformat())
    story.now = began = START + timedelta(hours=1)
    story.add(Act.START, Step.NOTED, "", machines=6, spread=0.815)
    for number in ("0101", "0102", "0103"):
        story.do(Act.START, number, phase="practical", began=began.isoformat())
    for number, result in (("0101", "holds"), ("0102", "holds"), ("0103", "not checked")):
        story.add(Act.ISOLATION, Step.NOTED, number, result=result, reason="no answer" if number == "0103" else "")
    story.go(minutes=10)
    story.add(Act.EXTEND, Step.NOTED, "0101", phase="practical", seconds=120, reason=HOSTILE)
    story.add(Act.INCIDENT, Step.NOTED, "0101", compensation=120, reason=HOSTILE)
    story.add(Act.INCIDENT, Step.NOTED, "", reason="the lights went out")
    story.do(Act.PAUSE, "0102", reason="illness")
    story.add(Act.RESET, Step.BEGUN, "0103", nodes=["web"], own=True, reason="")
    story.add(Act.RESET, Step.DONE, "0103")
    story.add(Act.RESET, Step.BEGUN, "0103", nodes=[], own=False, reason="the lab was broken")
    story.add(Act.RESET, Step.FAILED, "0103", error="web did not come up")
    return story


def over() -> Story:
    """Return a session that is over: all frozen and collected, one freeze tried twice, the host's clock set once."""
    story = under_way()
    story.go(minutes=5)
    story.do(Act.RESUME, "0102")
    story.add(Act.EXTEND, Step.NOTED, "0101", phase="practical", seconds=300, reason="late start")
    story.add(Act.CLOCK, Step.NOTED, seconds=-30.0)
    story.go(minutes=60)
    story.freeze("0101")
    story.add(Act.FREEZE, Step.BEGUN, "0103", reason="deadline")
    story.add(Act.FREEZE, Step.FAILED, "0103", error="no room on the disk")
    story.freeze("0103")
    story.go(minutes=20)
    story.freeze("0102")
    for number in ("0101", "0102", "0103"):
        story.do(Act.START, number, phase="recette")
        story.do(Act.COLLECT, number, manifest="cd" * 32)
    story.go(minutes=30)
    for number in ("0101", "0102", "0103"):
        story.do(Act.CLOSE, number)
    story.do(Act.CLOSE)
    return story
