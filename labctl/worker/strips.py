"""One-time codes to a printable sheet: one strip to cut off for each person."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from labctl import __version__
from labctl.language import _, current_language


@dataclass(frozen=True)
class Strip:
    """One person; `code` is "" for one who has a password already."""

    shown: str
    name: str
    code: str = field(repr=False)
    group: str = ""


def render_strips(title: str, address: str, strips: Sequence[Strip]) -> str:
    """Return the sheet as an HTML page; everything that is filled in is escaped."""
    templates = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(loader=templates, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    words = {
        "title": title,
        "keep": _("Give each person their strip and nobody else's. Destroy what is left over."),
        "address": _("Address"),
        "name": _("Name"),
        "code": _("One-time code"),
        "has_password": _("has a password already"),
        "how": _("Log in with this name and this code, then choose a password of your own. The code serves once."),
    }
    template = environment.get_template("accounts.html.j2")
    return template.render(
        language=current_language(), version=__version__, words=words, address=address, strips=strips
    )
