"""Shows the events of long work: a live table on a terminal, plain lines elsewhere, JSON lines for programs."""

import json
import sys
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from labctl.language import _
from labctl.monitor import Event, Monitor, Progress

UI_VERSION = "1.0"
SIGNS = {Progress.DONE: ("✔", "green"), Progress.FAILED: ("✘", "red"), Progress.SKIPPED: ("·", "dim")}


def step_name(step: str) -> str:
    """Return a step's name for people; a tool's name is its own."""
    names = {
        "network": _("network"), "create": _("create"), "define": _("define"), "boot": _("boot"),
        "configure": _("configure"),
        "login": _("log in"), "clone": _("clone"), "resume": _("resume"), "personalise": _("personalise"),
        "freeze": _("freeze"), "check": _("check"), "remove": _("remove"), "queue": _("queue"), "restore": _("restore"),
        "media": _("check the discs"), "windows start": _("start from the disc"),
        "windows setup": _("install Windows"), "windows specialize": _("Windows: first start"),
        "windows configure": _("Windows: drivers, agent, SSH"), "windows generalize": _("Windows: generalise"),
        "windows sealed": _("Windows: switch off"), "seal": _("seal"),
    }  # fmt: skip
    return names.get(step, step)


def clock(seconds: float) -> str:
    """Return a duration as 1:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Display(Monitor, AbstractContextManager["Display"]):
    """A monitor that is shown while its block lasts."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the display."""

    def tell(self, event: Event) -> None:
        """Show an event."""


class Lines(Display):
    """Writes one line when a step starts, ends or fails: for logs and screen readers."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.last: dict[str, str] = {}
        self.lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """Write what is new; running details only when they change."""
        sign = SIGNS.get(event.progress, ("…", ""))[0]
        line = f"{sign} {event.subject}: {step_name(event.step)} {event.detail}".rstrip()
        with self.lock:
            if self.last.get(event.subject) == line:
                return
            self.last[event.subject] = line
            print(f"[{clock(time.monotonic() - self.started)}] {line}", file=sys.stderr, flush=True)  # noqa: T201  progress


class JsonLines(Display):
    """Writes one JSON object a line on stdout, the version first."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.write({"type": "version", "ui": UI_VERSION})

    def tell(self, event: Event) -> None:
        """Write an event."""
        self.write({
            "type": "progress", "subject": event.subject, "step": event.step, "progress": str(event.progress),
            "detail": event.detail, "fraction": event.fraction,
        })  # fmt: skip

    def write(self, data: dict[str, object]) -> None:
        """Write one object."""
        with self.lock:
            print(json.dumps(data, ensure_ascii=False), flush=True)  # noqa: T201  stdout is the result


class Board(Display):
    """A live table: one row per subject with its step, its time and what it does now."""

    def __init__(self, title: str, estimate: float | None) -> None:
        self.title = title
        self.estimate = estimate
        self.started = time.monotonic()
        self.rows: dict[str, tuple[Event, float]] = {}
        self.lock = threading.Lock()
        self.spinner = Spinner("dots")
        console = Console(stderr=True, highlight=False)
        self.live = Live(get_renderable=self.render, console=console, refresh_per_second=6, transient=False)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def tell(self, event: Event) -> None:
        """Change the subject's row."""
        with self.lock:
            known = self.rows.get(event.subject)
            same = known is not None and known[0].step == event.step
            self.rows[event.subject] = (event, known[1] if known and same else time.monotonic())

    def render(self) -> RenderableType:
        """Return the table as it is now."""
        table = Table.grid(padding=(0, 2))
        with self.lock:
            rows = list(self.rows.items())
        for subject, (event, since) in rows:
            sign, style = SIGNS.get(event.progress, ("", ""))
            mark: RenderableType = Text(sign, style=style) if sign else self.spinner
            spent = "" if sign else clock(time.monotonic() - since)
            share = "" if event.fraction is None or sign else f"{event.fraction:4.0%}"
            detail = Text(
                event.detail.splitlines()[0] if event.detail else "", style="dim", overflow="ellipsis", no_wrap=True
            )
            table.add_row(mark, Text(subject, style="bold"), Text(step_name(event.step)), share, spent, detail)
        return Group(Text(self.headline(), style="bold cyan"), table)

    def headline(self) -> str:
        """Return the title with the time spent and, where it is known, the time left."""
        spent = time.monotonic() - self.started
        if self.estimate is None:
            return f"{self.title} · {clock(spent)}"
        left = max(0.0, self.estimate - spent)
        return _("{title} · {spent} · about {left} left").format(title=self.title, spent=clock(spent), left=clock(left))


def choose_display(title: str, *, as_json: bool, estimate: float | None = None) -> Display:
    """Return the display for where stderr goes and what was asked for."""
    if as_json:
        return JsonLines()
    return Board(title, estimate) if is_terminal() else Lines()


def is_terminal() -> bool:
    """Return whether somebody watches stderr."""
    return Console(stderr=True).is_terminal
