"""The pages of errors: the right status, one sentence in the reader's language, and a way on."""

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from labctl.language import _
from labctl.portal.pages import render_page
from labctl.worker.answers import Person
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone


def title_of(status: int) -> str:
    """Return what a status means in a few words."""
    return {
        400: _("This cannot be understood"),
        401: _("Please log in"),
        403: _("This is not allowed"),
        404: _("There is no such page"),
        405: _("This cannot be done here"),
        408: _("Too slow"),
        409: _("Not now"),
        410: _("Too late"),
        413: _("Too large"),
        422: _("This cannot be understood"),
        429: _("Too often"),
        503: _("Not reachable at the moment"),
    }.get(status, _("Something went wrong"))


def failure_page(error: NotDone, person: Person | None = None) -> HTMLResponse:
    """Return the page of a refusal."""
    return show_failure(error.status, error.message, error.hint, error.wait, person)


def http_failure(error: HTTPException) -> HTMLResponse:
    """Return the page of what Starlette refuses by itself."""
    said = {404: _("there is nothing at this address"), 405: _("this address does not take what was sent to it")}.get(
        error.status_code, _("this cannot be answered")
    )
    answer = show_failure(error.status_code, said)
    answer.headers.update(error.headers or {})
    return answer


def unknown_page() -> NotDone:
    """Return the error for an address that nothing can be at."""
    return NotDone(Refusal.UNKNOWN, _("there is nothing at this address"))


def malformed() -> NotDone:
    """Return the error for a form that no page of ours sends."""
    return NotDone(Refusal.MALFORMED, _("a field of the form cannot be used, and nothing was done"))


def too_slow() -> NotDone:
    """Return the refusal of a request that does not come to its end."""
    return NotDone(Refusal.TOO_SLOW, _("what was sent did not arrive in time, and nothing was done"))


def show_failure(
    status: int, message: str, hint: str = "", wait: int = 0, person: Person | None = None
) -> HTMLResponse:
    """Return the page of an error; `wait` is in seconds."""
    page = render_page(
        "failure.html.j2", title=title_of(status), message=message, hint=hint, wait=wait, status=status, person=person
    )
    return HTMLResponse(page, status_code=status, headers={"Retry-After": str(wait)} if wait else None)
