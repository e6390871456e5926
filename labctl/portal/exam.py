"""The pages of a candidate: their demand, their clock, their machines and consoles, what the proctor says, no more."""

from starlette.responses import Response

from labctl.portal.markdown import render_markdown
from labctl.portal.visit import Visit, go
from labctl.worker.exam_answers import ExamPage
from labctl.worker.exam_requests import AskExam, ExamReset, ExamWake

WHOLE = "*"  # the word of the form for all machines


async def show_exam(visit: Visit) -> Response:
    """Show a candidate all that is theirs."""
    page = await visit.ask(AskExam())
    return visit.render("exam.html.j2", **about(page), text=render_markdown(page.markdown) if page.markdown else "")


def about(page: ExamPage) -> dict[str, object]:
    """Return what every page of a candidate shows."""
    return {"exam": page, "clock": page.clock, "verbs": page.verbs}


async def show_reset(visit: Visit) -> Response:
    """Say what a reset loses, before it is done."""
    page = await visit.ask(AskExam())
    wanted = visit.query.get("node")
    nodes = [node for node in page.nodes if wanted in {node.node, WHOLE}]
    if not nodes or (wanted == WHOLE and page.scope != "lab"):
        return go("/exam")
    return visit.render("exam_reset.html.j2", **about(page), nodes=nodes, whole=wanted == WHOLE)


async def reset(visit: Visit) -> Response:
    """Bring a machine, or all, back to the first state."""
    wanted = visit.form.get("node")
    await visit.ask(ExamReset(nodes=() if wanted == WHOLE else (wanted,)))
    return go("/exam")


async def wake(visit: Visit) -> Response:
    """Switch on a machine that is off."""
    await visit.ask(ExamWake(node=visit.form.get("node")))
    return go("/exam")
