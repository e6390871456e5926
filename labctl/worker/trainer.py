"""Requests of trainers about classes: the board, the start of a class, acts on many labs, messages, log, reports."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from labctl.classroom.capacity import Forecast, amount, forecast, resource_name
from labctl.errors import LabctlError
from labctl.lab.sheets import ClassSheets, NeverChecked, NoChecks, find_class_sheets, find_sheet
from labctl.lab.source import load_source
from labctl.lab.status import LabStatus
from labctl.language import _, current_language, ngettext
from labctl.report import junit, record, spreadsheet
from labctl.report.grid import Grid, make_grid
from labctl.report.page import render_grid, render_sheet
from labctl.roster import Student
from labctl.shipped import shipped_folder
from labctl.topology.load import shipped_topologies
from labctl.topology.model import Topology
from labctl.worker.answers import (
    Accepted,
    Acted,
    Board,
    BoardCell,
    BoardRow,
    Classes,
    ClassLine,
    Document,
    Done,
    GridAnswer,
    JobLine,
    Log,
    LogLine,
)
from labctl.worker.describing import describe_checks, node_words, state_words
from labctl.worker.forecast_answers import ForecastAnswer, ForecastShare
from labctl.worker.gate import Gate
from labctl.worker.jobs import Wish
from labctl.worker.office import Caller, Office
from labctl.worker.records import PAGE, StoredMessage, now
from labctl.worker.requests import (
    Act,
    AskBoard,
    AskClasses,
    AskForecast,
    AskGrid,
    AskLog,
    AskReport,
    SendMessage,
    SetEnd,
    Start,
)
from labctl.worker.values import LabState, Refusal
from labctl.worker.watch import state_of
from labctl.worker.wire import NotDone

MEDIA = {
    "html": "text/html; charset=utf-8", "pdf": "application/pdf", "json": "application/json",
    "csv": "text/csv; charset=utf-8", "junit": "application/xml",
}  # fmt: skip
SUFFIX = {"junit": "xml"}
LONGEST_SESSION = timedelta(hours=24)


@dataclass(frozen=True)
class Trainer:
    """Answers requests about classes for whoever may."""

    office: Office
    gate: Gate

    def classes(self, caller: Caller, _request: AskClasses) -> Classes:
        """Return the classes of a person, and what labs may be made of."""
        labs = self.office.watch.labs()
        lines = []
        for name, students in self.office.accounts.classes().items():
            if "*" in caller.classes or name in caller.classes:
                members = {one.slug for one in students}
                mine = [one for one in labs if one.owner in members]
                topologies = tuple(sorted({one.topology for one in mine}))
                lines.append(ClassLine(name=name, students=len(students), labs=len(mine), topologies=topologies))
        return Classes(classes=tuple(lines), topologies=tuple(self.office.library.titles().items()))

    def students(self, class_name: str, owners: Sequence[str] = ()) -> list[Student]:
        """Return students of a class, all where none is named. Raises NotDone for somebody who is not in it."""
        students = self.office.accounts.classes().get(class_name, ())
        if unknown := {*owners} - {one.slug for one in students}:
            text = _('"{name}" is not in this class')
            raise NotDone(Refusal.UNKNOWN, text.format(name=min(unknown)))
        return [one for one in students if not owners or one.slug in owners]

    def board(self, _caller: Caller, request: AskBoard) -> Board:
        """Return the board of a class."""
        calls, connected, visits = (
            self.office.records.calls(),
            self.office.hub.connected(),
            self.office.records.visits(),
        )
        by_owner: dict[str, list[LabStatus]] = {}
        for status in self.office.watch.labs():
            if request.topology in {None, status.topology}:
                by_owner.setdefault(status.owner, []).append(status)
        jobs: dict[str, JobLine] = {}
        for job in self.office.jobs.open_jobs():
            jobs.setdefault(job.wish.lab, self.office.line(job))
        rows = []
        for one in self.students(request.class_name):
            here = one.slug in connected
            for status in by_owner.get(one.slug, ()):
                called, busy = calls.get(status.name), jobs.get(status.name)
                row = board_row(one, status, called, busy, connected=here)
                rows.append(row.model_copy(update={"suspend_at": self.office.idling.suspend_at(status.name, visits)}))
            if one.slug not in by_owner:
                rows.append(board_row(one, None, None, None, connected=here))
        nodes = dict.fromkeys(cell.node for row in rows for cell in row.cells)
        ends = self.office.records.end_of_class(request.class_name)
        return Board(class_name=request.class_name, ends=ends, nodes=tuple(nodes), rows=tuple(rows), at=now())

    def forecast(self, _caller: Caller, request: AskForecast) -> ForecastAnswer:
        """Return whether the labs of a class fit."""
        topology = load_shipped(request.topology)
        owners = [one.slug for one in self.students(request.class_name, request.owners)]
        having = {one.owner for one in self.office.watch.labs() if one.topology == topology.name}
        wanted = sum(owner not in having for owner in owners)
        found = forecast(self.office.place, topology, wanted)
        existing = len(owners) - wanted
        if found is None:
            said = _("the golden lab of {topology} is built first; how many labs fit is known then")
            return ForecastAnswer(topology=topology.name, wanted=wanted, existing=existing, fits=wanted,
                                  said=said.format(topology=topology.name))  # fmt: skip
        return describe_forecast(topology, found, existing)

    def start(self, caller: Caller, request: Start) -> Accepted:
        """Have the labs of a class brought up, where they fit."""
        answer = self.forecast(
            caller, AskForecast(class_name=request.class_name, topology=request.topology, owners=request.owners)
        )
        if not answer.allowed:
            raise NotDone(Refusal.NOT_NOW, answer.said, "labctl plan")
        owners = [one.slug for one in self.students(request.class_name, request.owners)]
        details = {"topology": request.topology, "owners": owners}
        wish = Wish(verb="start", class_name=request.class_name, details=details, who=caller.name,
                    language=caller.language)  # fmt: skip
        job, new = self.office.jobs.add(wish)
        detail = f"{request.topology}: {', '.join(owners)}"
        self.office.log(caller, "start", class_name=request.class_name, detail=detail)
        return Accepted(job=self.office.line(job), new=new)

    def act(self, caller: Caller, request: Act) -> Acted:
        """Have one verb done on many labs; each is looked at on its own."""
        jobs, refused = [], {}
        for lab in dict.fromkeys(request.labs):
            try:
                status = self.gate.require_lab(caller, request.verb, lab)
                if status is None:
                    raise NotDone(Refusal.UNKNOWN, _("there is no such lab"))
                nodes = self.known_nodes(lab, request.nodes) if request.verb == "reset" else []
                details = {"nodes": nodes, "keep_checkpoint": ""} if request.verb == "reset" else {}
                jobs.append(self.office.wish(caller, request.verb, status, **details)[0])
            except LabctlError as exc:
                refused[lab] = exc.message
        return Acted(jobs=tuple(jobs), refused=refused)

    def known_nodes(self, lab: str, nodes: Sequence[str]) -> list[str]:
        """Return machines of a lab, sorted, none where all are meant. Raises NotDone for an unknown one."""
        known = self.office.library.topology(lab).nodes
        for node in nodes:
            if node not in known:
                raise NotDone(Refusal.UNKNOWN, _('this lab has no machine "{node}"').format(node=node))
        return sorted({*nodes}) if {*nodes} != {*known} else []

    def message(self, caller: Caller, request: SendMessage) -> Done:
        """Say something to students."""
        receivers = [one.slug for one in self.students(request.class_name, request.owners)]
        for receiver in receivers:
            self.office.send(caller.name, caller.account.shown, receiver, request.text)
        who = f"{len(receivers)}: {', '.join(receivers)}"
        self.office.log(caller, "message", class_name=request.class_name, detail=f"{request.text[:200]} → {who}")
        text = ngettext("sent to {count} student", "sent to {count} students", len(receivers))
        return Done(said=text.format(count=len(receivers)))

    def set_end(self, caller: Caller, request: SetEnd) -> Done:
        """Note when the session of a class ends, and let the pages of its students tell it; nothing is stopped then."""
        ends = check_end(request.ends)
        self.office.records.set_end(request.class_name, ends)
        self.office.log(caller, "set_end", class_name=request.class_name, detail=ends)
        members = {one.slug for one in self.students(request.class_name)}
        for status in self.office.watch.labs():
            if status.owner in members:
                self.office.lab_changed(status, status)
        return Done()

    def log(self, caller: Caller, request: AskLog) -> Log:
        """Return lines of the log."""
        owners: Sequence[str] | None = None
        if request.class_name is not None:
            owners = [one.slug for one in self.students(request.class_name)]
        elif request.lab is None and "*" not in caller.classes and caller.role != "admin":
            classes = self.office.accounts.classes()
            owners = [one.slug for name in caller.classes for one in classes.get(name, ())] + [caller.name]
        found = self.office.records.lines(request.before, request.lab or "", owners)
        lines = tuple(
            LogLine(id=one.id, at=one.at, who=one.who, what=one.what, lab=one.lab, detail=one.detail,
                    address=one.address, refused=one.refused)
            for one in found
        )  # fmt: skip
        return Log(lines=lines, before=found[-1].id if len(found) == PAGE else 0)

    def make_grid(self, class_name: str, topology: str | None) -> Grid:
        """Return the grid of a class. Raises NotDone where nothing was ever checked."""
        found = self.find_sheets(class_name, topology)
        return make_grid(found.sheets, found.without, current_language())

    def find_sheets(self, class_name: str, topology: str | None) -> ClassSheets:
        """Return the sheets of a class. Raises NotDone where nothing was ever checked."""
        found = find_class_sheets(self.office.place, self.students(class_name), topology or "", current_language())
        if not any(sheet.first for sheet in found.sheets):
            hint = _("Run the checks first: choose labs on the board, then press “Run the checks”.")
            raise NotDone(Refusal.NOT_NOW, _("no check of a lab of this class was ever run"), hint)
        return found

    def grid(self, _caller: Caller, request: AskGrid) -> GridAnswer:
        """Return the grid of a class by competency."""
        grid = self.make_grid(request.class_name, request.topology)
        return GridAnswer(class_name=request.class_name, grid=json.loads(record.write_grid(grid)))

    def report(self, caller: Caller, request: AskReport) -> Document:
        """Return the sheet of a lab, or the grid of a class, as a file."""
        if request.lab is not None:
            name, text = request.lab, self.write_sheet(request.lab, request.format)
        elif request.class_name is not None:
            name, text = request.class_name, self.write_class(request)
        else:
            raise NotDone(Refusal.MALFORMED, _("name a lab or a class"))
        self.office.log(caller, "report", lab=request.lab or "", class_name=request.class_name or "",
                        detail=request.format)  # fmt: skip
        if request.format == "pdf":
            from labctl.report.pdf import render_pdf  # it takes memory that an idle worker does not need

            content = render_pdf(text)
        else:
            content = text.encode("utf-8-sig" if request.format == "csv" else "utf-8")
        suffix = SUFFIX.get(request.format, request.format)
        encoded = base64.b64encode(content).decode()
        return Document(name=f"{name}.{suffix}", media_type=MEDIA[request.format], content=encoded)

    def write_sheet(self, lab: str, kind: str) -> str:
        """Return the sheet of a lab as text. Raises NotDone where there is nothing to write."""
        try:
            sheet = find_sheet(self.office.place, lab, current_language())
        except NoChecks as exc:
            raise NotDone(Refusal.NOT_NOW, exc.message) from exc
        except NeverChecked as exc:
            raise NotDone(Refusal.NOT_NOW, exc.message, _("Run the checks on the page of the lab first.")) from exc
        writers = {
            "json": lambda: record.write_sheet(sheet), "csv": lambda: spreadsheet.write_sheet(sheet),
            "junit": lambda: junit.write_suites([sheet]),
        }  # fmt: skip
        return writers.get(kind, lambda: render_sheet(sheet))()

    def write_class(self, request: AskReport) -> str:
        """Return the grid of a class as text."""
        class_name = request.class_name or ""
        if request.format == "junit":
            return junit.write_suites(self.find_sheets(class_name, request.topology).sheets)
        grid = self.make_grid(class_name, request.topology)
        writers = {"json": lambda: record.write_grid(grid), "csv": lambda: spreadsheet.write_grid(grid)}
        return writers.get(request.format, lambda: render_grid(grid))()


def check_end(text: str) -> str:
    """Return the end of a session as it is stored, "" for none. Raises NotDone for what is past, or a day away."""
    if not text:
        return ""
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise NotDone(Refusal.MALFORMED, _("this is no time")) from None
    if end.tzinfo is None or not timedelta() < end - datetime.now(UTC) <= LONGEST_SESSION:
        raise NotDone(Refusal.MALFORMED, _("a session ends within the next {hours} hours").format(hours=24))
    return end.astimezone(UTC).isoformat(timespec="seconds")


def load_shipped(name: str) -> Topology:
    """Return a shipped topology. Raises NotDone for any other name: no request names a file."""
    known: Mapping[str, object] = shipped_topologies(shipped_folder("topologies"))
    if name not in known:
        raise NotDone(Refusal.UNKNOWN, _("there is no such topology"))
    return load_source(str(known[name]))[2]


def describe_forecast(topology: Topology, found: Forecast, existing: int) -> ForecastAnswer:
    """Return a forecast in words."""
    shares = tuple(
        ForecastShare(
            resource=resource_name(share.resource), each=amount(share.resource, share.need),
            free=amount(share.resource, share.free), fits=found.wanted if share.fits is None else share.fits,
        )
        for share in found.shares
    )  # fmt: skip
    return ForecastAnswer(
        topology=topology.name, wanted=found.wanted, existing=existing, fits=found.fits, said=found.explain(),
        seconds=found.seconds, shares=shares, allowed=found.fits >= found.wanted,
    )  # fmt: skip


def board_row(
    student: Student, status: LabStatus | None, call: StoredMessage | None, job: JobLine | None, *, connected: bool
) -> BoardRow:
    """Return a student's lab on the board."""
    if status is None:
        return BoardRow(owner=student.slug, name=student.name, lab="", topology="", state=LabState.ABSENT,
                        words=state_words(LabState.ABSENT), connected=connected)  # fmt: skip
    state = state_of(status)
    cells = tuple(
        BoardCell(node=node.name, state=str(node.state), words=node_words(node.state, short=True))
        for node in status.nodes
    )
    return BoardRow(
        owner=student.slug, name=student.name, lab=status.name, topology=status.topology, state=state,
        words=state_words(state), cells=cells, checks=describe_checks(status.checks), job=job,
        called=call.text if call else "", called_at=call.at if call else "", connected=connected,
    )  # fmt: skip
