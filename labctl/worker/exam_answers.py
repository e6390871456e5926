"""What the worker answers about exams; no name of a candidate, no check, no result, and nobody else's values.

Lengths are in seconds, None where no clock goes on; `left` is negative after the deadline.
"""

from pydantic import Field

from labctl.worker.answers import JobLine
from labctl.worker.values import ConsoleMode, Model


class ExamNode(Model):
    """One machine of a candidate; `state` is running, paused, stopped, crashed or missing."""

    node: str
    state: str
    words: str
    description: str = ""
    addresses: tuple[tuple[str, str, str], ...] = ()
    consoles: tuple[ConsoleMode, ...] = ()


class Clock(Model):
    """The clock of a phase. `marks` are the seconds left at which a candidate is told so."""

    phase: str = ""
    words: str = ""
    left: float | None = None
    deadline: str = ""
    paused: bool = False
    extended: float = 0.0
    marks: tuple[int, ...] = ()


class ProctorMessage(Model):
    """What the proctor said to a candidate, or to all."""

    at: str
    text: str


class ExamPage(Model):
    """All that a candidate sees. `markdown` is their demand, "" before it is theirs to read.

    `verbs` has console, exam_reset and exam_wake: "" allowed, else why not. `resets_left` is how many resets they have
    left, `scope` what one is about: none, machine or lab.
    """

    session: str
    number: str
    title: str
    rehearsal: bool
    lab: str
    state: str
    words: str
    said: str
    clock: Clock
    markdown: str = ""
    nodes: tuple[ExamNode, ...] = ()
    messages: tuple[ProctorMessage, ...] = ()
    scope: str = "none"
    resets_left: int = 0
    job: JobLine | None = None
    verbs: dict[str, str] = Field(default_factory=dict)
    trouble: str = ""


class ExamLine(Model):
    """One session in a list."""

    session: str
    stage: str
    words: str
    title: str
    rehearsal: bool
    candidates: int


class Exams(Model):
    """The sessions of this host, the newest first."""

    exams: tuple[ExamLine, ...] = ()


class BoardAlert(Model):
    """Something that the proctor should know; `urgent` is what they must act on."""

    text: str
    urgent: bool = False
    why: str = ""


class ExamRow(Model):
    """One candidate on the proctor's board. `consoles` is how many are open."""

    number: str
    lab: str
    state: str
    words: str
    clock: Clock
    nodes: tuple[ExamNode, ...] = ()
    consoles: int = 0
    connected: bool = False
    alerts: tuple[BoardAlert, ...] = ()


class Supervision(Model):
    """Whether somebody keeps the deadlines; `looked` is when they looked last."""

    alive: bool
    looked: str = ""
    next_freeze: str = ""


class ExamBoard(Model):
    """A session at one moment."""

    session: str
    title: str
    stage: str
    words: str
    rehearsal: bool
    at: str
    rows: tuple[ExamRow, ...] = ()
    alerts: tuple[BoardAlert, ...] = ()
    supervisor: Supervision


class ExamActed(Model):
    """What became of an act, by number: "" where it was done, else why not; `under_way` are those that take longer."""

    done: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    refused: dict[str, str] = Field(default_factory=dict)
    under_way: tuple[str, ...] = ()
