"""One request of one person: whose session it is, what the form says, and the worker to ask in their name."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

from pydantic import ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from labctl.language import _, current_language, speaking
from labctl.portal.failures import failure_page, malformed, too_slow, unknown_page
from labctl.portal.pages import render_page
from labctl.portal.settings import Settings
from labctl.worker.answers import Person
from labctl.worker.client import Worker
from labctl.worker.requests import Ask, Whoami
from labctl.worker.values import Model, Refusal
from labctl.worker.wire import NotDone

A = TypeVar("A", bound=Model)
R = TypeVar("R", bound=Ask[Any])
MOST_FIELDS = 400  # of a form: 200 labs, and what else it says
CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf"
LOOK_COOKIE, LOOKS = "look", ("contrast", "large")
FORM = "application/x-www-form-urlencoded"
SENT_WITHIN = 30.0  # seconds for a form of some kilobytes


@dataclass(frozen=True)
class Form:
    """What a form or the end of an address says, as it came."""

    pairs: tuple[tuple[str, str], ...] = ()

    def get(self, name: str, default: str = "") -> str:
        """Return the first value of a field, without spaces around it."""
        return next((value.strip() for key, value in self.pairs if key == name), default)

    def all(self, name: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return tuple(value for key, value in self.pairs if key == name)


def parse_form(text: str) -> Form:
    """Return the fields of a form. Raises NotDone for one that no page of ours sends."""
    try:
        return Form(tuple(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")))
    except ValueError as exc:
        raise malformed() from exc


@dataclass(frozen=True)
class Visit:
    """A request with who sent it. `form` is empty unless something was sent; `query` is the end of the address."""

    request: Request
    token: str
    person: Person
    form: Form = field(default_factory=Form)

    @property
    def worker(self) -> Worker:
        """Return the worker to ask."""
        return worker_of(self.request)

    @property
    def query(self) -> Form:
        """Return what the end of the address says."""
        return parse_form(self.request.url.query)

    def path(self, name: str) -> str:
        """Return a part of the address."""
        return str(self.request.path_params[name])

    async def ask(self, request: Ask[A]) -> A:
        """Ask the worker in this person's name. Raises NotDone."""
        return await self.worker.ask(signed(request, self.request, self.token))

    def render(self, template: str, **values: object) -> HTMLResponse:
        """Return a page."""
        fixed = {"person": self.person, "path": self.request.url.path, "appearance": read_look(self.request)}
        return HTMLResponse(render_page(template, **fixed, **values))


def signed(request: R, connection: HTTPConnection, token: str) -> R:
    """Return a request with who asks it, from where, and in which language the answer is to be."""
    address = connection.client.host if connection.client else ""
    return request.model_copy(update={"token": token, "language": current_language(), "address": address})


def worker_of(connection: HTTPConnection) -> Worker:
    """Return the worker of the application."""
    worker: Worker = connection.app.state.worker
    return worker


def read_look(connection: HTTPConnection) -> str:
    """Return the classes of the page by what somebody chose: high contrast, large text, both or none."""
    chosen = connection.cookies.get(LOOK_COOKIE, "").split("-")
    return " ".join(look for look in LOOKS if look in chosen)


def settings_of(connection: HTTPConnection) -> Settings:
    """Return how the portal is reached."""
    settings: Settings = connection.app.state.settings
    return settings


def cookie_name(settings: Settings) -> str:
    """Return the cookie of a session; browsers take `__Host-` only by https, for one host and all its paths."""
    return "__Host-session" if settings.secure else "session"


def session_token(connection: HTTPConnection) -> str:
    """Return what the session's cookie holds, "" where there is none; it is no longer than a token may be."""
    return connection.cookies.get(cookie_name(settings_of(connection)), "")[:128]


def set_session(answer: Response, settings: Settings, token: str) -> None:
    """Give the browser its session; "" takes it away."""
    answer.set_cookie(
        cookie_name(settings), token, max_age=None if token else 0, path="/", secure=settings.secure, httponly=True,
        samesite="strict",
    )  # fmt: skip


def go(path: str) -> RedirectResponse:
    """Return the way to another page, to be got and not sent to."""
    return RedirectResponse(path, status_code=303)


def local_path(text: str, default: str = "/") -> str:
    """Return a path of this host; anything else that a link might hold becomes the default."""
    safe = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if safe else default


Page = Callable[[Visit], Awaitable[Response]]


def page(show: Page) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a page that only people with a session see."""

    async def endpoint(request: Request) -> Response:
        token = session_token(request)
        if not token:
            return way_in(request, NotDone(Refusal.LOGIN_NEEDED, _("Please log in")))
        try:
            person = await worker_of(request).ask(signed(Whoami(), request, token))
        except NotDone as error:
            return way_in(request, error)
        with speaking(person.language or current_language()):
            return await answer(show, Visit(request, token, person))

    return endpoint


async def answer(show: Page, visit: Visit) -> Response:
    """Return a page, or that of the error that came of it."""
    sent = visit.request.method == "POST"
    try:
        if sent:
            form = await read_form(visit.request)
            check_csrf(visit, form)
            visit = Visit(visit.request, visit.token, visit.person, form)
        return await show(visit)
    except ValidationError:  # a name in an address or a form that no lab, machine or check can have
        return failure_page(malformed() if sent else unknown_page(), visit.person)
    except NotDone as error:
        return way_in(visit.request, error, visit.person)


def way_in(request: Request, error: NotDone, person: Person | None = None) -> Response:
    """Return the page of an error; whoever has no session, or no password yet, is led to where one gets it."""
    if error.refusal is Refusal.PASSWORD_TO_CHOOSE:
        return go("/password")
    if error.refusal is not Refusal.LOGIN_NEEDED:
        return failure_page(error, person)
    if "hx-request" in request.headers:
        return Response(status_code=error.status, headers={"HX-Redirect": "/login"})
    back = request.url.path if request.method == "GET" else "/"
    return go("/login" if back == "/" else f"/login?back={quote(back)}")


async def read_form(request: Request) -> Form:
    """Return the form that was sent. Raises NotDone."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(SENT_WITHIN):
            body = await request.body()
    except TimeoutError as exc:
        raise too_slow() from exc
    if body and kind != FORM:
        raise malformed()
    try:
        return parse_form(body.decode("ascii"))
    except UnicodeDecodeError as exc:
        raise malformed() from exc


def check_csrf(visit: Visit, form: Form) -> None:
    """Raise NotDone for a form that a page of this session did not make."""
    sent = form.get(CSRF_FIELD) or visit.request.headers.get(CSRF_HEADER, "")
    if not visit.person.csrf or not compare_digest(sent.encode(), visit.person.csrf.encode()):
        text = _("this page was too old, and nothing was done: go back, load it again and send it once more")
        raise NotDone(Refusal.FORBIDDEN, text)
