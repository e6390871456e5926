"""What can be asked of the worker: one frozen model for each kind, each with the model of its answer.

Every request carries the opaque `token` of the session; who that is, and whether they may, the worker finds out.
"""

from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from labctl.worker.answers import (
    Accepted,
    Accounts,
    Acted,
    Board,
    Classes,
    ConsoleOpened,
    Document,
    Done,
    Drawing,
    Feedback,
    GridAnswer,
    Health,
    Hints,
    Jobs,
    LabSheet,
    Log,
    Messages,
    MyLabs,
    Person,
    Session,
    Statement,
    Subscribed,
    Ticket,
)  # fmt: skip
from labctl.worker.forecast_answers import ForecastAnswer
from labctl.worker.values import (
    CheckName,
    CheckpointName,
    ClassName,
    ConsoleMode,
    LabName,
    Labs,
    Language,
    Message,
    Model,
    NodeName,
    Nodes,
    OwnerName,
    Owners,
    Role,
    Token,
    TopologyName,
    Typed,
)  # fmt: skip

A = TypeVar("A", bound=Model)


class Ask(Model, Generic[A]):
    """A request. `address` is that of the browser, for throttling and the log; `language` that of the answer."""

    token: Token = ""
    language: Language = "fr"
    address: Typed = ""

    @classmethod
    def answer_model(cls) -> type[A]:
        """Return the model of the answer."""
        for base in cls.__mro__:
            arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args", ())
            if arguments:
                model: type[A] = arguments[0]
                return model
        raise TypeError(cls)


class Login(Ask[Session]):
    """Begin a session with a password or a one-time code; a new token each time."""

    kind: Literal["login"] = "login"
    name: Typed
    secret: Typed = Field(repr=False)


class ChoosePassword(Ask[Session]):
    """Choose one's own password; `old` is needed where there is one already. Other sessions end, the token changes."""

    kind: Literal["choose_password"] = "choose_password"
    new: Typed = Field(repr=False)
    old: Typed = Field(default="", repr=False)


class Logout(Ask[Done]):
    """End the session."""

    kind: Literal["logout"] = "logout"


class Whoami(Ask[Person]):
    """Whose session it is. The only request, beside `choose_password` and `logout`, before a password is chosen."""

    kind: Literal["whoami"] = "whoami"


class ChooseLanguage(Ask[Done]):
    """Keep `language` as the person's own."""

    kind: Literal["choose_language"] = "choose_language"


class AskHealth(Ask[Health]):
    """Whether the worker and libvirt answer; needs no session, and tells no name then."""

    kind: Literal["health"] = "health"


class AskMyLabs(Ask[MyLabs]):
    """My labs."""

    kind: Literal["my_labs"] = "my_labs"


class AskLab(Ask[LabSheet]):
    """One lab, and what may be done with it."""

    kind: Literal["lab"] = "lab"
    lab: LabName


class AskStatement(Ask[Statement]):
    """The énoncé of a lab."""

    kind: Literal["statement"] = "statement"
    lab: LabName


class AskDrawing(Ask[Drawing]):
    """The drawing of a lab."""

    kind: Literal["drawing"] = "drawing"
    lab: LabName


class RunChecks(Ask[Accepted]):
    """Run the checks of a lab."""

    kind: Literal["run_checks"] = "run_checks"
    lab: LabName


class AskFeedback(Ask[Feedback]):
    """The last results of a lab's checks."""

    kind: Literal["feedback"] = "feedback"
    lab: LabName


class AskHint(Ask[Hints]):
    """The first `n` hints of a check; what was asked for is kept and logged."""

    kind: Literal["hint"] = "hint"
    lab: LabName
    check: CheckName
    n: int = Field(ge=1, le=10)


class Reset(Ask[Accepted]):
    """Make machines anew, all of them without `nodes`; with `keep_checkpoint`, keep the lab under that name first."""

    kind: Literal["reset"] = "reset"
    lab: LabName
    nodes: Nodes = ()
    keep_checkpoint: CheckpointName | None = None


class CheckpointSave(Ask[Accepted]):
    """Keep a lab as it is."""

    kind: Literal["checkpoint_save"] = "checkpoint_save"
    lab: LabName
    name: CheckpointName


class CheckpointRestore(Ask[Accepted]):
    """Bring a lab back to a checkpoint."""

    kind: Literal["checkpoint_restore"] = "checkpoint_restore"
    lab: LabName
    name: CheckpointName


class CheckpointRemove(Ask[Accepted]):
    """Delete a checkpoint."""

    kind: Literal["checkpoint_remove"] = "checkpoint_remove"
    lab: LabName
    name: CheckpointName


class CallTrainer(Ask[Done]):
    """Call the trainer for a lab."""

    kind: Literal["call_trainer"] = "call_trainer"
    lab: LabName
    text: Message


class AnswerCall(Ask[Done]):
    """Note that a student's call was answered."""

    kind: Literal["answer_call"] = "answer_call"
    lab: LabName


class AskMessages(Ask[Messages]):
    """Messages to the person who asks; those shown count as read."""

    kind: Literal["messages"] = "messages"


class AskJobs(Ask[Jobs]):
    """Jobs of a lab, or all that the person may see."""

    kind: Literal["jobs"] = "jobs"
    lab: LabName | None = None


class ConsoleTicket(Ask[Ticket]):
    """A ticket for a console; `take_over` takes it from whoever holds one that cannot be shared."""

    kind: Literal["console_ticket"] = "console_ticket"
    lab: LabName
    node: NodeName
    mode: ConsoleMode
    view_only: bool = False
    take_over: bool = False


class OpenConsole(Ask[ConsoleOpened]):
    """Open the console of a ticket, in the session that it was given to; its connection serves for nothing else.

    What comes on the connection after the answer is said in `labctl.worker.opened`.
    """

    kind: Literal["open_console"] = "open_console"
    ticket: Token
    lab: LabName
    node: NodeName
    mode: ConsoleMode
    view_only: bool = False


class Wake(Ask[Accepted]):
    """Let a lab that was suspended, or whose machines are off, run again."""

    kind: Literal["wake"] = "wake"
    lab: LabName


class Suspend(Ask[Accepted]):
    """Suspend a lab: its memory is kept on disk."""

    kind: Literal["suspend"] = "suspend"
    lab: LabName


class AskClasses(Ask[Classes]):
    """Classes and topologies."""

    kind: Literal["classes"] = "classes"


class AskBoard(Ask[Board]):
    """The board of a class, of one topology or all."""

    kind: Literal["board"] = "board"
    class_name: ClassName
    topology: TopologyName | None = None


class AskForecast(Ask[ForecastAnswer]):
    """Whether the labs of a class, or of some of its students, fit."""

    kind: Literal["forecast"] = "forecast"
    class_name: ClassName
    topology: TopologyName
    owners: Owners = ()


class Start(Ask[Accepted]):
    """Bring up the labs of a class, or of some of its students."""

    kind: Literal["start"] = "start"
    class_name: ClassName
    topology: TopologyName
    owners: Owners = ()


class Act(Ask[Acted]):
    """Do one verb on many labs: reset, run_checks, suspend, wake or down."""

    kind: Literal["act"] = "act"
    labs: Labs
    verb: Literal["reset", "run_checks", "suspend", "wake", "down"]
    nodes: Nodes = ()


class SendMessage(Ask[Done]):
    """Say something to some students, or to a whole class without `owners`."""

    kind: Literal["message"] = "message"
    class_name: ClassName
    owners: Owners = ()
    text: Message


class SetEnd(Ask[Done]):
    """Say when the session of a class ends (UTC, ISO 8601), "" for no end: students see what time is left."""

    kind: Literal["set_end"] = "set_end"
    class_name: ClassName
    ends: str = Field(max_length=40)


class AskLog(Ask[Log]):
    """Who did what: in a lab, in a class, or all that the person may see; `before` is that of the last answer."""

    kind: Literal["log"] = "log"
    lab: LabName | None = None
    class_name: ClassName | None = None
    before: int = Field(default=0, ge=0)


class AskGrid(Ask[GridAnswer]):
    """The grid of a class by competency."""

    kind: Literal["grid"] = "grid"
    class_name: ClassName
    topology: TopologyName | None = None


class AskReport(Ask[Document]):
    """The acceptance sheet of a lab, or the grid of a class."""

    kind: Literal["report"] = "report"
    lab: LabName | None = None
    class_name: ClassName | None = None
    topology: TopologyName | None = None
    format: Literal["html", "pdf", "json", "csv", "junit"] = "pdf"


class AskAccounts(Ask[Accounts]):
    """The accounts of a class, or all."""

    kind: Literal["accounts"] = "accounts"
    class_name: ClassName | None = None


class NewCode(Ask[Accounts]):
    """Draw a new one-time code for somebody; their password and sessions end."""

    kind: Literal["new_code"] = "new_code"
    name: OwnerName


class SetRole(Ask[Accounts]):
    """Make or change an account that is not from a roster; `closed` ends it."""

    kind: Literal["set_account"] = "set_account"
    name: OwnerName
    shown: Typed = ""
    role: Role
    classes: tuple[ClassName | Literal["*"], ...] = Field(default=(), max_length=100)
    closed: bool = False


class Subscribe(Ask[Subscribed]):
    """Hear of changes: in these labs, in a class, or in all that the person may see.

    After the answer the connection carries `Event` lines only, until either side closes it.
    """

    kind: Literal["subscribe"] = "subscribe"
    labs: Labs = ()
    class_name: ClassName | None = None


KINDS: dict[str, type[Ask[Any]]] = {
    str(model.model_fields["kind"].default): model
    for model in (
        Login, ChoosePassword, Logout, Whoami, ChooseLanguage, AskHealth, AskMyLabs, AskLab, AskStatement, AskDrawing,
        RunChecks, AskFeedback, AskHint, Reset, CheckpointSave, CheckpointRestore, CheckpointRemove, CallTrainer,
        AnswerCall, AskMessages, AskJobs, ConsoleTicket, OpenConsole, Wake, Suspend, AskClasses, AskBoard, AskForecast,
        Start, Act, SendMessage, SetEnd, AskLog, AskGrid, AskReport, AskAccounts, NewCode, SetRole, Subscribe,
    )
}  # fmt: skip
