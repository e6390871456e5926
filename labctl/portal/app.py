"""Puts the portal together: its addresses, its files, and the guard before all of them."""

import asyncio
import mimetypes
from collections import Counter

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from labctl.language import current_language
from labctl.portal import entrance, exam, proctor, student, trainer
from labctl.portal.failures import failure_page, http_failure
from labctl.portal.guard import Guard
from labctl.portal.live import stream_changes
from labctl.portal.pages import STATIC, render_page
from labctl.portal.settings import Settings
from labctl.portal.visit import Page, page, parse_form, session_token, signed, worker_of
from labctl.worker.client import Worker
from labctl.worker.requests import AskHealth, Whoami
from labctl.worker.wire import NotDone

mimetypes.add_type("text/javascript", ".mjs")  # Python 3.11 does not know it, and browsers insist


class Files(StaticFiles):
    """Our files. Those asked for with their mark never change; browsers ask whether others have, such as modules."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        """Return a file with how long it may be kept."""
        answer: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        scope: Scope = args[2] if len(args) > 2 else kwargs["scope"]  # type: ignore[assignment]  # noqa: PLR2004
        marked = bool(parse_form(scope["query_string"].decode("latin-1")).get("v"))
        answer.headers["Cache-Control"] = "public, max-age=31536000, immutable" if marked else "no-cache"
        return answer


def get(path: str, show: Page) -> Route:
    """Return the route of a page that is looked at."""
    return Route(path, page(show), methods=["GET"])


def post(path: str, do: Page) -> Route:
    """Return the route of a form that is sent."""
    return Route(path, page(do), methods=["POST"])


def student_routes() -> list[BaseRoute]:
    """Return the pages of one lab."""
    return [
        get("/labs", student.show_labs),
        get("/messages", student.show_messages),
        get("/labs/{lab}", student.show_lab),
        get("/labs/{lab}/statement", student.show_statement),
        get("/labs/{lab}/checks", student.show_checks),
        post("/labs/{lab}/checks", student.run_checks),
        post("/labs/{lab}/checks/{check}/hint", student.ask_hint),
        get("/labs/{lab}/reset", student.show_reset),
        post("/labs/{lab}/reset", student.reset),
        get("/labs/{lab}/checkpoints", student.show_checkpoints),
        post("/labs/{lab}/checkpoints", student.save_checkpoint),
        get("/labs/{lab}/checkpoints/{name}", student.show_checkpoint),
        post("/labs/{lab}/checkpoints/{name}/restore", student.restore_checkpoint),
        post("/labs/{lab}/checkpoints/{name}/remove", student.remove_checkpoint),
        get("/labs/{lab}/call", student.show_call),
        post("/labs/{lab}/call", student.call_trainer),
        post("/labs/{lab}/wake", student.wake),
        post("/labs/{lab}/suspend", student.suspend),
    ]


def trainer_routes() -> list[BaseRoute]:
    """Return the pages of whoever teaches."""
    return [
        get("/classes", trainer.show_classes),
        get("/classes/{class_name}", trainer.show_board),
        get("/classes/{class_name}/start", trainer.show_start),
        post("/classes/{class_name}/start", trainer.start),
        post("/classes/{class_name}/act", trainer.act),
        get("/classes/{class_name}/message", trainer.show_message),
        post("/classes/{class_name}/message", trainer.send_message),
        post("/classes/{class_name}/end", trainer.set_end),
        get("/classes/{class_name}/grid", trainer.show_grid),
        get("/classes/{class_name}/report", trainer.send_report),
        get("/labs/{lab}/report", trainer.send_report),
        post("/labs/{lab}/answered", trainer.answer_call),
        get("/log", trainer.show_log),
        get("/accounts", trainer.show_accounts),
        post("/accounts/{name}/code", trainer.draw_code),
    ]


def exam_routes() -> list[BaseRoute]:
    """Return the pages of candidates and proctors."""
    return [
        get("/exam", exam.show_exam),
        get("/exam/reset", exam.show_reset),
        post("/exam/reset", exam.reset),
        post("/exam/wake", exam.wake),
        get("/exams", proctor.show_exams),
        get("/exams/{session}", proctor.show_board),
        post("/exams/{session}/act", proctor.act),
    ]


def open_routes() -> list[BaseRoute]:
    """Return what is there without a session."""
    return [
        get("/", entrance.home),
        Route("/login", entrance.show_login, methods=["GET"]),
        Route("/login", entrance.log_in, methods=["POST"]),
        get("/password", entrance.show_password),
        post("/password", entrance.choose_password),
        post("/logout", entrance.log_out),
        post("/look", entrance.choose_look),
        Route("/language", entrance.choose_language, methods=["POST"]),
        Route("/accessibility", show_accessibility, methods=["GET"]),
        Route("/health", show_health, methods=["GET"]),
        Route("/events", stream_changes, methods=["GET"]),
        Route("/favicon.ico", show_icon, methods=["GET"]),
        Mount("/static", Files(directory=STATIC, check_dir=False)),
    ]


def create_app(worker: Worker, settings: Settings, more: list[BaseRoute] | None = None) -> Guard:
    """Return the application. `more` are routes of other modules, put before those of ours."""
    app = Starlette(
        routes=[*(more or []), *open_routes(), *student_routes(), *trainer_routes(), *exam_routes()],
        exception_handlers={HTTPException: show_http_failure, NotDone: show_not_done, Exception: show_crash},
    )
    app.state.worker, app.state.settings = worker, settings
    app.state.streams, app.state.stopping = Counter(), asyncio.Event()
    return Guard(app, settings, app.state.stopping)


async def show_accessibility(request: Request) -> Response:
    """Show the declaration of accessibility, to everybody."""
    person = None
    if token := session_token(request):
        try:
            person = await worker_of(request).ask(signed(Whoami(), request, token))
        except NotDone:
            person = None
    template = f"accessibility.{current_language()}.html.j2"
    return HTMLResponse(render_page(template, person=person, path="/accessibility"))


async def show_health(request: Request) -> Response:
    """Tell supervision whether the portal can work, and no name of anything."""
    try:
        health = await worker_of(request).ask(signed(AskHealth(), request, ""))
    except NotDone as error:
        return JSONResponse({"worker": False, "libvirt": False, "said": error.message}, status_code=503)
    working = health.worker and health.libvirt
    said = {"worker": health.worker, "libvirt": health.libvirt, "said": health.said}
    return JSONResponse(said, status_code=200 if working else 503)


async def show_icon(_request: Request) -> Response:
    """Send the icon to browsers that ask for it under its old name."""
    return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")


async def show_http_failure(_request: Request, error: Exception) -> Response:
    """Return the page of what has no route."""
    assert isinstance(error, HTTPException)  # Starlette calls it for nothing else
    return http_failure(error)


async def show_not_done(_request: Request, error: Exception) -> Response:
    """Return the page of a refusal outside a page."""
    assert isinstance(error, NotDone)  # Starlette calls it for nothing else
    return failure_page(error)


async def show_crash(_request: Request, _error: Exception) -> Response:
    """Return the page of a mistake of ours; the server's log has what it was."""
    return http_failure(HTTPException(500))
