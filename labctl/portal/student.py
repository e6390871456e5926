"""The pages of one lab, for the student whose it is and for the trainer who helps."""

import asyncio
import itertools
from collections.abc import Collection

from starlette.responses import Response

from labctl.language import _
from labctl.portal.drawing import show_drawing
from labctl.portal.markdown import render_markdown
from labctl.portal.visit import Visit, go
from labctl.worker.answers import Drawing, LabSheet
from labctl.worker.requests import (
    AskDrawing,
    AskFeedback,
    AskHint,
    AskLab,
    AskMessages,
    AskMyLabs,
    AskStatement,
    CallTrainer,
    CheckpointRemove,
    CheckpointRestore,
    CheckpointSave,
    Reset,
    RunChecks,
    Suspend,
    Wake,
)  # fmt: skip
from labctl.worker.values import Refusal
from labctl.worker.wire import NotDone

MOST_JOBS = 6  # of a lab that its page shows


async def show_labs(visit: Visit) -> Response:
    """Show the labs of the person."""
    mine, heard = await asyncio.gather(visit.ask(AskMyLabs()), read_messages(visit))
    return visit.render("labs.html.j2", labs=mine.labs, messages=heard[:3])


async def show_lab(visit: Visit) -> Response:
    """Show a lab: its state, its machines as a drawing and as a table, its jobs."""
    lab = visit.path("lab")
    sheet, drawing = await asyncio.gather(visit.ask(AskLab(lab=lab)), read_drawing(visit, lab))
    states = {node.node: node for node in sheet.nodes}
    picture = show_drawing(drawing, states) if drawing else None
    return visit.render("lab.html.j2", **about(sheet), drawing=picture)


def about(sheet: LabSheet) -> dict[str, object]:
    """Return what every page of a lab shows."""
    return {"lab": sheet.line, "sheet": sheet, "verbs": sheet.verbs, "jobs": sheet.jobs[:MOST_JOBS]}


async def read_drawing(visit: Visit, lab: str) -> Drawing | None:
    """Return the drawing of a lab, None where there is none: the table says the same."""
    try:
        return await visit.ask(AskDrawing(lab=lab))
    except NotDone as error:
        if error.refusal in {Refusal.LOGIN_NEEDED, Refusal.FORBIDDEN, Refusal.UNKNOWN}:
            raise
        return None


async def read_messages(visit: Visit) -> tuple[object, ...]:
    """Return the messages to the person where some are new; reading them makes them old."""
    if not visit.person.unread:
        return ()
    return (await visit.ask(AskMessages())).messages[: visit.person.unread]


async def show_statement(visit: Visit) -> Response:
    """Show what is to be done in a lab."""
    lab = visit.path("lab")
    sheet, statement = await asyncio.gather(visit.ask(AskLab(lab=lab)), visit.ask(AskStatement(lab=lab)))
    text = render_markdown(statement.markdown)
    return visit.render("statement.html.j2", **about(sheet), statement=statement, text=text)


async def show_checks(visit: Visit) -> Response:
    """Show how the checks of a lab stand."""
    lab = visit.path("lab")
    sheet, feedback = await asyncio.gather(visit.ask(AskLab(lab=lab)), visit.ask(AskFeedback(lab=lab)))
    return visit.render("checks.html.j2", **about(sheet), feedback=feedback)


async def run_checks(visit: Visit) -> Response:
    """Run the checks of a lab."""
    lab = visit.path("lab")
    await visit.ask(RunChecks(lab=lab))
    return go(f"/labs/{lab}/checks")


async def ask_hint(visit: Visit) -> Response:
    """Get the next hint of a check. The number was on the page, so that a form sent twice takes one hint."""
    lab, check = visit.path("lab"), visit.path("check")
    await visit.ask(AskHint(lab=lab, check=check, n=int(visit.form.get("n")) if visit.form.get("n").isdecimal() else 1))
    return go(f"/labs/{lab}/checks#check-{check}")


async def show_reset(visit: Visit) -> Response:
    """Say what a reset loses, before it is done."""
    sheet = await visit.ask(AskLab(lab=visit.path("lab")))
    chosen = visit.query.all("node")
    nodes = [node for node in sheet.nodes if not chosen or node.node in chosen]
    if not nodes:
        return go(f"/labs/{sheet.line.lab}/reset")
    name = free_name(_("before-reset"), {one.name for one in sheet.checkpoints})
    return visit.render("reset.html.j2", **about(sheet), nodes=nodes, whole=not chosen, name=name)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name for a checkpoint that none has, with a number where there must be one."""
    names = (f"{name}-{number}" if number > 1 else name for number in itertools.count(1))
    return next(one for one in names if one not in taken)


async def reset(visit: Visit) -> Response:
    """Make machines anew; a checkpoint is kept first unless the person said no."""
    lab = visit.path("lab")
    keep = visit.form.get("name") if visit.form.get("keep") else ""
    await visit.ask(Reset(lab=lab, nodes=visit.form.all("node"), keep_checkpoint=keep or None))
    return go(f"/labs/{lab}#jobs")


async def show_checkpoints(visit: Visit) -> Response:
    """Show the kept steps of a lab."""
    sheet = await visit.ask(AskLab(lab=visit.path("lab")))
    return visit.render("checkpoints.html.j2", **about(sheet))


async def save_checkpoint(visit: Visit) -> Response:
    """Keep a lab as it is."""
    lab = visit.path("lab")
    await visit.ask(CheckpointSave(lab=lab, name=visit.form.get("name").lower()))
    return go(f"/labs/{lab}/checkpoints#jobs")


async def show_checkpoint(visit: Visit) -> Response:
    """Say what going back, or deleting a kept step, loses."""
    sheet = await visit.ask(AskLab(lab=visit.path("lab")))
    name = visit.path("name")
    found = [one for one in sheet.checkpoints if one.name == name]
    if not found:
        return go(f"/labs/{sheet.line.lab}/checkpoints")
    return visit.render("checkpoint.html.j2", **about(sheet), checkpoint=found[0])


async def restore_checkpoint(visit: Visit) -> Response:
    """Bring a lab back to a kept step."""
    lab = visit.path("lab")
    await visit.ask(CheckpointRestore(lab=lab, name=visit.path("name")))
    return go(f"/labs/{lab}#jobs")


async def remove_checkpoint(visit: Visit) -> Response:
    """Delete a kept step."""
    lab = visit.path("lab")
    await visit.ask(CheckpointRemove(lab=lab, name=visit.path("name")))
    return go(f"/labs/{lab}/checkpoints#jobs")


async def show_call(visit: Visit) -> Response:
    """Show the form that calls the trainer."""
    sheet = await visit.ask(AskLab(lab=visit.path("lab")))
    return visit.render("call.html.j2", **about(sheet), said="")


async def call_trainer(visit: Visit) -> Response:
    """Call the trainer."""
    lab = visit.path("lab")
    done = await visit.ask(CallTrainer(lab=lab, text=visit.form.get("text")))
    sheet = await visit.ask(AskLab(lab=lab))
    return visit.render("call.html.j2", **about(sheet), said=done.said or "called")


async def wake(visit: Visit) -> Response:
    """Let a lab run again."""
    lab = visit.path("lab")
    await visit.ask(Wake(lab=lab))
    return go(f"/labs/{lab}#jobs")


async def suspend(visit: Visit) -> Response:
    """Suspend a lab."""
    lab = visit.path("lab")
    await visit.ask(Suspend(lab=lab))
    return go(f"/labs/{lab}#jobs")


async def show_messages(visit: Visit) -> Response:
    """Show the messages to the person."""
    return visit.render("messages.html.j2", messages=(await visit.ask(AskMessages())).messages)
