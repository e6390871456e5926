"""Fills templates: everything filled in is escaped, every sentence is in the language of whoever reads."""

from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labctl import __version__
from labctl.language import _, current_language, decimal, ngettext
from labctl.portal.signs import check_sign, has_screen, lab_sign, node_sign

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
MINUTE, HOUR = 60, 3600  # seconds


@cache
def environment() -> Environment:
    """Return the template environment; autoescape is on whatever a file is called."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, extensions=["jinja2.ext.do"],
    )  # fmt: skip
    made.globals.update(
        _=_, ngettext=ngettext, static=static_url, version=__version__, lab_sign=lab_sign, node_sign=node_sign,
        check_sign=check_sign, has_screen=has_screen,
    )  # fmt: skip
    made.filters.update(moment=show_moment, size=show_size, lasting=show_seconds)
    return made


def render_page(template: str, **values: object) -> str:
    """Return a page; `person` is None for somebody who is not logged in."""
    return environment().get_template(template).render({"person": None, "language": current_language(), **values})


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
