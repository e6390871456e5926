"""Shows the events of many labs under way: one row per student on a terminal, one line per finished lab elsewhere."""

import sys
import time
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labctl.classroom.wish import LAB_STEP
from labctl.cli.progress import SIGNS, Board, Display, JsonLines, Lines, clock, is_terminal, step_name
from labctl.language import _
from labctl.monitor import Event, Progress

ROWS = 20  # of labs under way and failed; the ready ones are only counted, or a class would not fit on a screen

TELLING = 2  # labs that must be done before this run tells its own pace


@dataclass
class LabRow:
    """One lab while it is under way: its nodes' last events."""

    started: float
    nodes: dict[str, Event] = field(default_factory=dict)
    ended: Progress | None = None

    def step(self) -> tuple[str, str]:
        """Return the step that holds the lab up, and the nodes that are still in it."""
        behind = {name: event for name, event in self.nodes.items() if event.progress is not Progress.DONE}
        if not behind:
            last = next(reversed(self.nodes.values()), None)
            return (last.step if last else "", "")
        event = next(iter(behind.values()))
        return event.step, ", ".join(name for name, one in behind.items() if one.step == event.step)


class ClassProgress:
    """What is known of all labs of a run: who waits, who is under way, who is ready, who failed."""

    def __init__(self, owners: int, estimate: float | None) -> None:
        self.owners = owners
        self.estimate = estimate
        self.started = time.monotonic()
        self.first: float | None = None  # when the first lab began; before, the golden lab is built
        self.labs: dict[str, LabRow] = {}

    def take(self, event: Event) -> None:
        """Note an event of a lab or of one of its nodes."""
        owner, slash, node = event.subject.partition("/")
        now = time.monotonic()
        if event.step == LAB_STEP and not slash:
            if event.progress is Progress.STARTED:
                self.first = self.first or now
                self.labs[owner] = LabRow(now)
            elif owner in self.labs:
                self.labs[owner].ended = event.progress
            else:
                self.labs[owner] = LabRow(now, ended=event.progress)
        elif slash and owner in self.labs:
            self.labs[owner].nodes[node] = event

    def count(self, progress: Progress | None) -> int:
        """Return how many labs have ended so, or are under way (None)."""
        return sum(lab.ended is progress for lab in self.labs.values())

    def left(self) -> float | None:
        """Return the seconds that are left: by this run's own pace once labs are ready, else by the host's past."""
        now = time.monotonic()
        done = sum(lab.ended is not None for lab in self.labs.values())
        if self.first is not None and done >= TELLING:
            return (self.owners - done) * (now - self.first) / done
        if self.estimate is None:
            return None
        return max(0.0, self.estimate - (now - (self.first or now)))

    def slowest(self) -> tuple[str, LabRow] | None:
        """Return the lab that has been under way for the longest time."""
        open_labs = [(owner, lab) for owner, lab in self.labs.items() if lab.ended is None]
        return min(open_labs, key=lambda pair: pair[1].started, default=None)

    def headline(self) -> str:
        """Return the counts, the slowest by name, and the time left, in one sentence."""
        ready, failed, open_labs = self.count(Progress.DONE), self.count(Progress.FAILED), self.count(None)
        parts = [
            clock(time.monotonic() - self.started),
            _("{ready} of {total} ready").format(ready=ready, total=self.owners),
        ]
        if open_labs:
            parts.append(_("{count} under way").format(count=open_labs))
        if failed:
            parts.append(_("{count} failed").format(count=failed))
        if slowest := self.slowest():
            owner, lab = slowest
            step = step_name(lab.step()[0])
            spent = clock(time.monotonic() - lab.started)
            detail = ", ".join(filter(None, (step, spent)))  # a lab that has just begun is at no step yet
            parts.append(_("slowest: {owner} ({detail})").format(owner=owner, detail=detail))
        left = self.left()
        if left is not None and ready + failed < self.owners:
            parts.append(_("about {left} left").format(left=clock(left)))
        return " · ".join(parts)


class ClassBoard(Board):
    """A live table of the labs under way and of those that failed; the golden lab's nodes while it is built."""

    def __init__(self, title: str, owners: int, estimate: float | None) -> None:
        self.progress = ClassProgress(owners, estimate)  # first: the display asks for a picture while it is made
        super().__init__(title, None)

    def tell(self, event: Event) -> None:
        """Note an event."""
        with self.lock:
            self.progress.take(event)
        if "/" not in event.subject and event.step != LAB_STEP:
            super().tell(event)

    def render(self) -> RenderableType:
        """Return the rows as they are now."""
        if self.progress.first is None:
            return super().render()
        table = Table.grid(padding=(0, 2))
        with self.lock:
            headline = f"{self.title} · {self.progress.headline()}"
            shown = [(owner, lab) for owner, lab in self.progress.labs.items() if lab.ended is not Progress.DONE]
        for owner, lab in shown[-ROWS:]:
            sign, style = SIGNS.get(lab.ended, ("", "")) if lab.ended else ("", "")
            mark: RenderableType = Text(sign, style=style) if sign else self.spinner
            step, nodes = lab.step()
            spent = "" if lab.ended else clock(time.monotonic() - lab.started)
            table.add_row(mark, Text(owner, style="bold"), Text(step_name(step)), spent, Text(nodes, style="dim"))
        return Group(Text(headline, style="bold cyan"), table)


class ClassLines(Display):
    """Writes one line when a lab is ready or has failed, and those of the golden lab's nodes."""

    def __init__(self, owners: int, estimate: float | None) -> None:
        self.progress = ClassProgress(owners, estimate)
        self.lines = Lines()

    def tell(self, event: Event) -> None:
        """Write what a person who waits wants to know."""
        with self.lines.lock:
            self.progress.take(event)
        if event.step != LAB_STEP:
            if "/" not in event.subject or event.progress is Progress.FAILED:
                self.lines.tell(event)
        elif event.progress in {Progress.DONE, Progress.FAILED}:
            sign = SIGNS[event.progress][0]
            print(f"{sign} {event.subject}: {self.progress.headline()}", file=sys.stderr, flush=True)  # noqa: T201  progress


def choose_class_display(title: str, owners: int, *, as_json: bool, estimate: float | None) -> Display:
    """Return the display for many labs, for where stderr goes and what was asked for."""
    if as_json:
        return JsonLines()
    return ClassBoard(title, owners, estimate) if is_terminal() else ClassLines(owners, estimate)
