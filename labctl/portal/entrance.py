"""The way in and out: a name with a one-time code or a password, one's own password, the language."""

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from labctl.language import LANGUAGES, speaking
from labctl.portal.failures import failure_page, malformed
from labctl.portal.guard import LANGUAGE_COOKIE
from labctl.portal.pages import render_page
from labctl.portal.visit import (
    LOOK_COOKIE,
    LOOKS,
    Visit,
    go,
    local_path,
    parse_form,
    read_form,
    read_look,
    session_token,
    set_session,
    settings_of,
    signed,
    worker_of,
)  # fmt: skip
from labctl.worker.requests import ChooseLanguage, ChoosePassword, Login, Logout
from labctl.worker.values import Refusal, Role
from labctl.worker.wire import NotDone

HOMES = {Role.STUDENT: "/labs", Role.CANDIDATE: "/exam", Role.PROCTOR: "/exams"}
YEAR = 365 * 24 * 3600  # seconds


async def home(visit: Visit) -> Response:
    """Lead to the page that the person came for."""
    if visit.person.must_choose_password:
        return go("/password")
    return go(HOMES.get(visit.person.role, "/classes"))


async def show_login(request: Request) -> Response:
    """Show the form of the way in."""
    return HTMLResponse(login_page(back=parse_form(request.url.query).get("back")))


def login_page(name: str = "", back: str = "", said: str = "") -> str:
    """Return the form; `said` is why it is shown again."""
    return render_page("login.html.j2", name=name, back=local_path(back), said=said, path="/login")


async def log_in(request: Request) -> Response:
    """Begin a session. A wrong name and a wrong secret get the same answer."""
    try:
        form = await read_form(request)
    except NotDone as error:
        return failure_page(error)
    name, back = form.get("name").lower(), local_path(form.get("back"))
    try:
        session = await worker_of(request).ask(signed(Login(name=name, secret=form.get("secret")), request, ""))
    except ValidationError:
        return failure_page(malformed())
    except NotDone as error:
        if error.refusal not in {Refusal.WRONG_SECRET, Refusal.TOO_MANY}:
            return failure_page(error)
        headers = {"Retry-After": str(error.wait)} if error.wait else None
        return HTMLResponse(login_page(name[:64], back, error.message), status_code=error.status, headers=headers)
    answer = go("/password" if session.person.must_choose_password else back)
    set_session(answer, settings_of(request), session.token)
    return answer


async def show_password(visit: Visit) -> Response:
    """Show the form of one's own password."""
    return visit.render("password.html.j2", said="")


async def choose_password(visit: Visit) -> Response:
    """Take one's own password; the session goes on under a new token."""
    new, again = visit.form.get("new"), visit.form.get("again")
    if new != again:
        return refuse_password(visit, 422, "differ")
    try:
        session = await visit.ask(ChoosePassword(new=new, old=visit.form.get("old")))
    except NotDone as error:
        if error.refusal not in {Refusal.MALFORMED, Refusal.WRONG_SECRET, Refusal.NOT_NOW, Refusal.TOO_MANY}:
            raise
        return refuse_password(visit, error.status, error.message)
    answer = go("/")
    set_session(answer, settings_of(visit.request), session.token)
    return answer


def refuse_password(visit: Visit, status: int, said: str) -> Response:
    """Show the form again, with why the password was not taken; "differ" is our own word."""
    shown = visit.render("password.html.j2", said=said)
    shown.status_code = status
    return shown


async def log_out(visit: Visit) -> Response:
    """End the session."""
    await visit.ask(Logout())
    answer = go("/login")
    set_session(answer, settings_of(visit.request), "")
    return answer


async def choose_language(request: Request) -> Response:
    """Keep a language in a cookie, and with the account of whoever has a session."""
    try:
        form = await read_form(request)
    except NotDone as error:
        return failure_page(error)
    language = form.get("language")
    if language not in LANGUAGES:
        return failure_page(malformed())
    if token := session_token(request):
        with speaking(language):
            await keep_language(request, token)
    answer = go(local_path(form.get("back")))
    secure = settings_of(request).secure
    answer.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR, secure=secure, httponly=True, samesite="strict")
    return answer


async def keep_language(request: Request, token: str) -> None:
    """Tell the worker which language a person chose; where it cannot be kept, the cookie still holds it."""
    worker = worker_of(request)
    try:
        await worker.ask(signed(ChooseLanguage(), request, token))
    except NotDone:
        return


async def choose_look(visit: Visit) -> Response:
    """Switch high contrast or large text on or off, and keep it in a cookie of this browser."""
    switched, chosen = visit.form.get("look"), read_look(visit.request).split()
    if switched not in LOOKS:
        raise malformed()
    kept = [look for look in LOOKS if (look in chosen) is not (look == switched)]
    answer = go(local_path(visit.form.get("back")))
    secure = settings_of(visit.request).secure
    answer.set_cookie(LOOK_COOKIE, "-".join(kept), max_age=YEAR, secure=secure, httponly=True, samesite="strict")
    return answer
