"""The pages of consoles, their tickets and their websockets."""

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from labctl.language import _
from labctl.portal.failures import unknown_page
from labctl.portal.guard import POLICY
from labctl.portal.relay import Relay, Silence, Why
from labctl.portal.visit import Visit, page, session_token, signed, worker_of
from labctl.worker.answers import NodeLine
from labctl.worker.client import OpenedConsole
from labctl.worker.exam_answers import ExamNode
from labctl.worker.exam_requests import AskExam
from labctl.worker.requests import AskLab, ConsoleTicket, OpenConsole
from labctl.worker.values import ConsoleMode, Refusal, Role
from labctl.worker.wire import NotDone

PROTOCOL = "labctl.console"
TICKET = "ticket."  # a second subprotocol carries the ticket: addresses are written into logs, this is not
UNWANTED = 1008  # RFC 6455: the connection breaks a rule of ours
AWAY = frozenset({Refusal.NO_WORKER, Refusal.HOST_NOT_READY})  # what comes back by itself
OWNERS = frozenset({Role.STUDENT, Role.CANDIDATE})
AGAIN = 1012  # the service restarts
PARTED_WITHIN = 5.0  # seconds for the last words: a page that reads nothing any more gets none
PLACE = "/labs/{lab}/machines/{node}/console"


def routes(silence: Silence | None = None) -> list[BaseRoute]:
    """Return the addresses of consoles; `silence` is when a page counts as gone."""
    patience = silence or Silence()

    async def serve(websocket: WebSocket) -> None:
        await serve_console(websocket, patience)

    return [
        Route(PLACE, page(show_console), methods=["GET"]),
        Route(f"{PLACE}/ticket", page(give_ticket), methods=["POST"]),
        WebSocketRoute(f"{PLACE}/socket", serve),
    ]


async def show_console(visit: Visit) -> Response:
    """Show the page of one console; everything in it happens by JavaScript."""
    owner = visit.person.role in OWNERS
    sheet = await read_machines(visit)
    node = next((one for one in sheet.nodes if one.node == visit.path("node")), None)
    mode = find_mode(visit.query.get("mode"))
    if node is None or mode is None or mode not in node.consoles:
        raise unknown_page()
    may_act = visit.person.role is not Role.PROCTOR and not sheet.watched
    look = not may_act or (visit.query.get("look") == "1" and not owner)
    nonce = secrets.token_urlsafe(18)
    refused = sheet.verbs.get("console_view" if look else "console", "")
    answer = visit.render(
        "console.html.j2", lab=visit.path("lab"), title=sheet.title, back=sheet.back, node=node, mode=mode.value,
        look=look, may_act=may_act, nonce=nonce, refused=refused, watches=not owner,
    )  # fmt: skip
    if mode is not ConsoleMode.GRAPHICS:
        # xterm writes its colours and sizes into <style> elements and style attributes of its own.
        styles = f"style-src 'self'; style-src-elem 'self' 'nonce-{nonce}'; style-src-attr 'unsafe-inline'"
        answer.headers["Content-Security-Policy"] = POLICY.replace("style-src 'self'", styles)
    return answer


@dataclass(frozen=True)
class Machines:
    """What a console's page needs of a lab: its machines, what is allowed, and the page to go back to.

    `watched` says that it is the lab of an exam, in which nobody but the candidate takes part.
    """

    title: str
    back: str
    nodes: Sequence[NodeLine | ExamNode]
    verbs: Mapping[str, str]
    watched: bool = False


async def read_machines(visit: Visit) -> Machines:
    """Return the machines of a lab; a candidate is told of their own by their exam alone."""
    lab = visit.path("lab")
    if visit.person.role is Role.CANDIDATE:
        exam = await visit.ask(AskExam())
        if exam.lab != lab:
            raise unknown_page()
        return Machines(exam.title, "/exam", exam.nodes, exam.verbs)
    sheet = await visit.ask(AskLab(lab=lab))
    back = f"/exams/{sheet.exam}" if sheet.exam else f"/labs/{lab}"
    return Machines(sheet.line.title, back, sheet.nodes, sheet.verbs, bool(sheet.exam))


def find_mode(word: str) -> ConsoleMode | None:
    """Return the way into a machine that an address names."""
    with suppress(ValueError):
        return ConsoleMode(word)
    return None


async def give_ticket(visit: Visit) -> Response:
    """Give the page a ticket, or the sentence that says why not, as JSON."""
    asked = ConsoleTicket(
        lab=visit.path("lab"), node=visit.path("node"), mode=ConsoleMode(visit.form.get("mode")),
        view_only=visit.form.get("look") == "1", take_over=visit.form.get("take_over") == "1",
    ) if find_mode(visit.form.get("mode")) else None  # fmt: skip
    if asked is None:
        raise unknown_page()
    try:
        ticket = await visit.ask(asked)
    except NotDone as error:
        if error.refusal is Refusal.LOGIN_NEEDED:
            raise
        away = error.refusal in AWAY
        return JSONResponse({"refused": error.message, "away": away, "wait": error.wait}, status_code=error.status)
    return JSONResponse({"ticket": ticket.ticket, "seconds": ticket.seconds})


async def serve_console(websocket: WebSocket, silence: Silence) -> None:
    """Open the console of a ticket and join it to the websocket; the guard has looked at where it comes from."""
    offered = websocket.scope["subprotocols"]
    ticket = next((word.removeprefix(TICKET) for word in offered if word.startswith(TICKET)), "")
    mode, token = find_mode(websocket.query_params.get("mode", "")), session_token(websocket)
    if not (ticket and token and mode and PROTOCOL in offered):
        await websocket.close(UNWANTED)
        return
    try:
        request = signed(
            OpenConsole(
                ticket=ticket, lab=websocket.path_params["lab"], node=websocket.path_params["node"], mode=mode,
                view_only=websocket.query_params.get("look") == "1",
            ),
            websocket, token,
        )  # fmt: skip
    except ValidationError:
        await websocket.close(UNWANTED)
        return
    await websocket.accept(PROTOCOL)
    with suppress(WebSocketDisconnect, RuntimeError):  # the page left
        await join_console(websocket, request, silence)


async def join_console(websocket: WebSocket, request: OpenConsole, silence: Silence) -> None:
    """Open a console, join it, and tell the page how it ended."""
    try:
        opened = await open_console(websocket, request)
    except NotDone as error:
        kinds = {"held": {Refusal.NOT_NOW}, "expired": {Refusal.EXPIRED}, "away": AWAY}
        kind = {name: error.refusal in refusals for name, refusals in kinds.items()}
        await say_end(websocket, {"refused": error.message, **kind})
        return
    try:
        about = {"node": opened.about.node, "mode": opened.about.mode.value, "look": opened.about.view_only}
        await websocket.send_text(json.dumps({"open": about}))
        why = await Relay(websocket, opened, silence).run()
    finally:
        opened.close()
    if why is Why.LOST:
        await websocket.close(AGAIN)  # without a word: the page tries again by itself
    elif why is Why.AWAY:
        await say_end(websocket, {"refused": end_words(why), "away": True})
    elif why is not Why.LEFT:
        await say_end(websocket, {"end": why.value, "said": end_words(why)})


async def open_console(websocket: WebSocket, request: OpenConsole) -> OpenedConsole:
    """Open a console. One that opens after all when nobody waits for it any more is closed again."""
    opening = asyncio.ensure_future(worker_of(websocket).open_console(request))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(close_late)
        raise


def close_late(opening: "asyncio.Future[OpenedConsole]") -> None:
    """Close a console that nobody waited for."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def say_end(websocket: WebSocket, notice: dict[str, object]) -> None:
    """Tell the page why there is nothing more to see, and part."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PARTED_WITHIN):
            await websocket.send_text(json.dumps(notice))
            await websocket.close()


def end_words(why: Why) -> str:
    """Return a sentence for a person."""
    return {
        Why.RIGHTS: _("This console was closed: the machine was made anew, or you may not use it any more."),
        Why.TAKEN_OVER: _("Somebody has taken this console over, from outside this page."),
        Why.STOPPED: _("The machine is off. The page of the lab can switch it on again."),
        Why.ENDED: _("The machine has closed this console."),
        Why.AWAY: _("The machines of this host cannot be reached at the moment; what runs in them goes on."),
        Why.SLOW: _("The connection was too slow for what the machine showed."),
        Why.STUCK: _("The machine does not take what is typed: it is paused, or very busy."),
        Why.NONSENSE: _("The page sent something that is no console. Load it again."),
        Why.GONE: _("This page has not answered any more."),
        Why.LEFT: "",
        Why.LOST: "",
    }[why]
