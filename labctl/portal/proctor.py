"""The pages of a proctor: the sessions, the board of one, and each act with its reason and a word of confirmation."""

from typing import get_args

from starlette.responses import Response

from labctl.portal.failures import malformed
from labctl.portal.visit import Visit, go
from labctl.worker.exam_answers import ExamBoard
from labctl.worker.exam_requests import AskExamBoard, AskExams, ExamAct
from labctl.worker.exam_values import ExamVerb

VERBS: tuple[ExamVerb, ...] = get_args(ExamVerb)
WITH_MINUTES = frozenset({"extend", "incident"})


async def show_exams(visit: Visit) -> Response:
    """Show the sessions of the host."""
    found = await visit.ask(AskExams())
    return visit.render("exams.html.j2", exams=found.exams)


async def show_board(visit: Visit) -> Response:
    """Show the board of a session."""
    board = await visit.ask(AskExamBoard(session=visit.path("session")))
    return visit.render("exam_board.html.j2", board=board, verbs=VERBS, numbers=visit.query.all("number"))


async def act(visit: Visit) -> Response:
    """Do an act; without a reason and a word of confirmation, ask for them first and say whom it concerns."""
    session = visit.path("session")
    verb = next((one for one in VERBS if one == visit.form.get("verb")), None)
    if verb is None:
        raise malformed()
    board = await visit.ask(AskExamBoard(session=session))
    numbers, everybody = visit.form.all("number"), bool(visit.form.get("everybody"))
    values = {"board": board, "verb": verb, "rows": chosen(board, numbers, everybody=everybody)}
    text, minutes = visit.form.get("text"), read_minutes(visit.form.get("minutes"))
    missing = find_missing(verb, text, minutes) if visit.form.get("asked") else ""
    if missing or not values["rows"] or not visit.form.get("confirmed"):
        shown = visit.render("exam_act.html.j2", **values, text=text, minutes=visit.form.get("minutes"),
                             everybody=everybody, missing=missing or unconfirmed(visit))  # fmt: skip
        shown.status_code = 422 if visit.form.get("asked") else 200
        return shown
    request = ExamAct(
        session=session, verb=verb, numbers=() if everybody else numbers, everybody=everybody, text=text,
        minutes=minutes or 0.0,
    )  # fmt: skip
    done = await visit.ask(request)
    if not done.refused and not done.under_way:
        return go(f"/exams/{session}")
    return visit.render("exam_acted.html.j2", **values, done=done)


def chosen(board: ExamBoard, numbers: tuple[str, ...], *, everybody: bool) -> list[object]:
    """Return the rows that an act concerns."""
    return [row for row in board.rows if everybody or row.number in numbers]


def read_minutes(text: str) -> float | None:
    """Return minutes as they are typed, with a comma or a point; None for no number."""
    try:
        return float(text.replace(",", ".") or 0)
    except ValueError:
        return None


def find_missing(verb: str, text: str, minutes: float | None) -> str:
    """Return what is missing before an act can be done, in a word of our own: reason, minutes or nothing."""
    if not text:
        return "reason"
    if verb in WITH_MINUTES and (minutes is None or minutes < 0 or (verb == "extend" and not minutes)):
        return "minutes"
    return ""


def unconfirmed(visit: Visit) -> str:
    """Return whether the word of confirmation is what is missing."""
    return "confirmed" if visit.form.get("asked") else ""
