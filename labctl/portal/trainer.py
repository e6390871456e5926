"""The pages of whoever teaches: classes, the start of labs, the board, acts on many, messages, log, grid, reports."""

import asyncio
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal, get_args
from urllib.parse import quote, urlencode

from starlette.responses import Response

from labctl.language import ngettext
from labctl.portal.failures import malformed, unknown_page
from labctl.portal.grid import read_grid
from labctl.portal.visit import Visit, go
from labctl.worker.answers import Board, BoardRow
from labctl.worker.requests import (
    Act,
    AnswerCall,
    AskAccounts,
    AskBoard,
    AskClasses,
    AskForecast,
    AskGrid,
    AskLog,
    AskReport,
    NewCode,
    SendMessage,
    SetEnd,
    Start,
)  # fmt: skip
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

Verb = Literal["reset", "run_checks", "suspend", "wake", "down"]
VERBS: tuple[Verb, ...] = get_args(Verb)
Format = Literal["html", "pdf", "json", "csv", "junit"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Filter:
    """Which rows of a board are shown: a text in names, one state, only those who called."""

    text: str = ""
    state: str = ""
    called: bool = False

    def lets(self, row: BoardRow) -> bool:
        """Return whether a row is shown."""
        wanted = self.text.casefold()
        named = wanted in row.owner.casefold() or wanted in row.name.casefold()
        return named and self.state in {"", str(row.state)} and (bool(row.called) or not self.called)

    def address(self, class_name: str, topology: str) -> str:
        """Return the address of the board with this filter."""
        words = {"topology": topology, "text": self.text, "state": self.state, "called": "1" if self.called else ""}
        query = urlencode({key: value for key, value in words.items() if value})
        return f"/classes/{class_name}" + (f"?{query}" if query else "")


async def show_classes(visit: Visit) -> Response:
    """Show the classes of the person."""
    found = await visit.ask(AskClasses())
    return visit.render("classes.html.j2", classes=found.classes, titles=dict(found.topologies))


async def show_board(visit: Visit) -> Response:
    """Show a class: one row for each lab, one column for each machine."""
    name, query = visit.path("class_name"), visit.query
    topology = query.get("topology")
    board = await visit.ask(AskBoard(class_name=name, topology=topology or None))
    chosen = Filter(query.get("text")[:60], query.get("state"), bool(query.get("called")))
    return visit.render("board.html.j2", **board_values(board, chosen), topology=topology, verbs=VERBS)


def board_values(board: Board, chosen: Filter) -> dict[str, object]:
    """Return what the page of a board shows."""
    rows = [row for row in board.rows if chosen.lets(row)]
    counts = Counter((row.state, row.words) for row in board.rows)
    return {
        "board": board, "rows": rows, "chosen": chosen, "counts": counts.most_common(),
        "calls": sum(bool(row.called) for row in board.rows), "summary": summarize(board),
        "topologies": sorted({row.topology for row in board.rows if row.topology}),
    }  # fmt: skip


def summarize(board: Board) -> str:
    """Return the one sentence that is read out when it changes."""
    ready = sum(row.state == "ready" for row in board.rows)
    calls = sum(bool(row.called) for row in board.rows)
    text = ngettext("{ready} lab ready of {all}", "{ready} labs ready of {all}", ready).format(
        ready=ready, all=len(board.rows)
    )
    called = ngettext("{count} call", "{count} calls", calls).format(count=calls)
    return f"{text}, {called}"


async def show_start(visit: Visit) -> Response:
    """Show what to start, and for whom; once a topology is chosen, what the host says to it, before the button."""
    name = visit.path("class_name")
    topology, owners = visit.query.get("topology"), visit.query.all("owner")
    found, board = await asyncio.gather(visit.ask(AskClasses()), visit.ask(AskBoard(class_name=name)))
    forecast = None
    if topology:
        forecast = await visit.ask(AskForecast(class_name=name, topology=topology, owners=owners))
    people = list({row.owner: row.name for row in board.rows}.items())
    return visit.render(
        "start.html.j2", class_name=name, topologies=found.topologies, topology=topology, owners=owners, people=people,
        forecast=forecast,
    )  # fmt: skip


async def start(visit: Visit) -> Response:
    """Bring up the labs of a class."""
    name, topology = visit.path("class_name"), visit.form.get("topology")
    await visit.ask(Start(class_name=name, topology=topology, owners=visit.form.all("owner")))
    return go(f"/classes/{name}?topology={quote(topology)}")


async def act(visit: Visit) -> Response:
    """Do one verb on the chosen labs; without a word of confirmation, say first what it will do to whom."""
    name, labs = visit.path("class_name"), visit.form.all("lab")
    verb = next((one for one in VERBS if one == visit.form.get("verb")), None)
    if verb is None:
        raise malformed()
    board = await visit.ask(AskBoard(class_name=name))
    rows = [row for row in board.rows if row.lab and row.lab in labs]
    if not rows or not visit.form.get("confirmed"):
        return visit.render("act.html.j2", class_name=name, rows=rows, verb=verb)
    done = await visit.ask(Act(labs=tuple(row.lab for row in rows), verb=verb))
    if not done.refused:
        return go(f"/classes/{name}")
    return visit.render("acted.html.j2", class_name=name, rows=rows, verb=verb, done=done)


async def show_message(visit: Visit) -> Response:
    """Show the form of a message to a class or some of it."""
    name = visit.path("class_name")
    board = await visit.ask(AskBoard(class_name=name))
    people = list({row.owner: row.name for row in board.rows}.items())
    chosen = visit.query.all("owner")
    return visit.render("message.html.j2", class_name=name, people=people, chosen=chosen)


async def send_message(visit: Visit) -> Response:
    """Say something to a class, or to some of it."""
    name = visit.path("class_name")
    everybody = visit.form.get("to") != "some"
    owners = () if everybody else visit.form.all("owner")
    if not everybody and not owners:
        raise malformed()
    await visit.ask(SendMessage(class_name=name, owners=owners, text=visit.form.get("text")))
    return go(f"/classes/{name}")


async def set_end(visit: Visit) -> Response:
    """Note when the session of a class ends: an hour of the host's clock, today or tomorrow; none without one."""
    name, wanted = visit.path("class_name"), visit.form.get("ends")
    ends = ""
    if wanted and not visit.form.get("none"):
        try:
            ends = next_time(time.fromisoformat(wanted), datetime.now().astimezone()).isoformat(timespec="seconds")
        except ValueError:
            raise malformed() from None
    await visit.ask(SetEnd(class_name=name, ends=ends))
    return go(f"/classes/{name}")


def next_time(hour: time, now: datetime) -> datetime:
    """Return the next moment at which a clock shows an hour."""
    today = now.replace(hour=hour.hour, minute=hour.minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


async def answer_call(visit: Visit) -> Response:
    """Note that a call was answered."""
    await visit.ask(AnswerCall(lab=visit.path("lab")))
    back = visit.form.get("class_name")
    return go(f"/classes/{quote(back)}" if back else f"/labs/{visit.path('lab')}")


async def show_log(visit: Visit) -> Response:
    """Show who did what."""
    query = visit.query
    before = int(query.get("before")) if query.get("before").isdecimal() else 0
    lab, name = query.get("lab"), query.get("class")
    log = await visit.ask(AskLog(lab=lab or None, class_name=name or None, before=before))
    return visit.render("log.html.j2", log=log, lab=lab, class_name=name)


async def show_grid(visit: Visit) -> Response:
    """Show a class by competency."""
    name, topology = visit.path("class_name"), visit.query.get("topology")
    said, hint, grid = "", "", None
    try:
        grid = (await visit.ask(AskGrid(class_name=name, topology=topology or None))).grid
    except NotDone as error:
        if error.refusal is not Refusal.NOT_NOW:
            raise
        said, hint = error.message, error.hint  # nothing was checked yet, which is no mistake
    return visit.render("grid.html.j2", class_name=name, topology=topology, grid=read_grid(grid), said=said, hint=hint)


async def send_report(visit: Visit) -> Response:
    """Send the sheet of a lab, or the grid of a class, to be kept."""
    wanted = next((one for one in FORMATS if one == visit.query.get("format", "pdf")), None)
    if wanted is None:
        raise unknown_page()
    lab, name = visit.request.path_params.get("lab"), visit.request.path_params.get("class_name")
    topology = visit.query.get("topology") or None
    document = await visit.ask(AskReport(lab=lab, class_name=name, topology=topology, format=wanted))
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(document.name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    }
    return Response(b64decode(document.content), media_type=document.media_type, headers=headers)


async def show_accounts(visit: Visit) -> Response:
    """Show the accounts of a class, or all."""
    name = visit.query.get("class")
    found = await visit.ask(AskAccounts(class_name=name or None))
    return visit.render("accounts.html.j2", accounts=found.accounts, class_name=name, drawn=())


async def draw_code(visit: Visit) -> Response:
    """Draw a new one-time code; it is shown once."""
    drawn = await visit.ask(NewCode(name=visit.path("name")))
    return visit.render("accounts.html.j2", accounts=(), class_name="", drawn=drawn.accounts)
