"""Fills templates: everything filled in is escaped, every sentence is in the language of whoever reads."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from math import ceil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labctl import __version__
from labctl.language import N_, _, current_language, decimal, ngettext
from labctl.portal.signs import check_sign, exam_sign, has_screen, lab_sign, machine_sign, node_sign

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
MINUTE, HOUR = 60, 3600  # seconds
HOURS_LEFT, MINUTES_LEFT = N_("Time left: {hours} h {minutes} min"), N_("Time left: {minutes} min")
SESSION_ENDED = N_("The session has ended.")


@cache
def environment() -> Environment:
    """Return the template environment; autoescape is on whatever a file is called."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    made.globals.update(
        _=_, ngettext=ngettext, static=static_url, version=__version__, lab_sign=lab_sign, node_sign=node_sign,
        check_sign=check_sign, has_screen=has_screen, machine_sign=machine_sign, exam_sign=exam_sign,
        hours_left=HOURS_LEFT, minutes_only=MINUTES_LEFT, session_ended=SESSION_ENDED,
    )  # fmt: skip
    made.filters.update(
        moment=show_moment,
        minutes_left=minutes_left,
        left=show_left,
        size=show_size,
        lasting=show_seconds,
        clock=show_clock,
        hour=show_hour,
        marks=write_marks,
    )
    return made


def render_page(template: str, **values: object) -> str:
    """Return a page; `person` is None for somebody who is not logged in."""
    return (
        environment()
        .get_template(template)
        .render({"person": None, "language": current_language(), "appearance": "", **values})
    )


@cache
def static_url(name: str) -> str:
    """Return the address of one of our files. It changes with the content, so that browsers may keep what they have."""
    path = STATIC / name
    mark = sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "missing"
    return f"/static/{name}?v={mark}"


def show_moment(at: str) -> str:
    """Return a time (UTC, ISO 8601) on the host's clock: the hour alone for today, "" for none."""
    try:
        local = datetime.fromisoformat(at).astimezone()
    except ValueError:
        return ""
    if local.date() == datetime.now(local.tzinfo).date():
        return local.strftime("%H:%M")
    return local.strftime("%d/%m/%Y %H:%M" if current_language() == "fr" else "%Y-%m-%d %H:%M")


def minutes_left(at: str) -> float:
    """Return how many minutes are left until a moment, a negative number once it is past."""
    return round((datetime.fromisoformat(at) - datetime.now(UTC)).total_seconds() / MINUTE, 2)


def show_left(minutes: float) -> str:
    """Return the time that is left in a session; live.js says the same while the page stays open."""
    if minutes <= 0:
        return _(SESSION_ENDED)
    hours, rest = divmod(ceil(minutes), 60)
    return _(HOURS_LEFT).format(hours=hours, minutes=rest) if hours else _(MINUTES_LEFT).format(minutes=rest)


def show_size(count: int) -> str:
    """Return bytes in words."""
    if count >= 1 << 30:
        return _("{count} GiB").format(count=decimal(count / (1 << 30)))
    return _("{count} MiB").format(count=count >> 20)


def show_seconds(seconds: float) -> str:
    """Return a duration in its largest unit, rounded up."""
    if seconds < MINUTE:
        return _("{count} s").format(count=round(seconds))
    if seconds < HOUR:
        return _("{count} min").format(count=-(-int(seconds) // MINUTE))
    return _("{count} h").format(count=decimal(seconds / HOUR))


def show_clock(seconds: float) -> str:
    """Return a length as on a clock: 1:05:09 or 4:30; a minus sign before what is over."""
    whole = int(abs(seconds))
    hours, minutes, rest = whole // HOUR, whole // MINUTE % MINUTE, whole % MINUTE
    text = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"\N{MINUS SIGN}{text}" if seconds < 0 and whole else text


def show_hour(at: str) -> str:
    """Return a time (UTC, ISO 8601) on the host's clock, to the second; "" for none."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return ""


def write_marks(marks: Sequence[int]) -> str:
    """Return as JSON what is said at each number of seconds left."""
    return json.dumps({str(mark): say_left(mark) for mark in marks}, ensure_ascii=False)


def say_left(seconds: int) -> str:
    """Return how much time is left, as it is said aloud."""
    if seconds < MINUTE:
        return ngettext("{count} second left", "{count} seconds left", seconds).format(count=seconds)
    count = seconds // MINUTE
    return ngettext("{count} minute left", "{count} minutes left", count).format(count=count)
