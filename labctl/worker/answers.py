"""What the worker answers: one frozen model for each kind of answer, sentences already in the reader's language.

Times are UTC, ISO 8601, "" where there is none; `words` is a state in words. Nothing here holds what a check expects,
the values that others drew, or the faults that were brought about.
"""

from pydantic import Field, JsonValue

from labctl.worker.values import CheckName, ConsoleMode, JobState, LabState, Language, Model, Role


class Done(Model):
    """It was done; `said` is a sentence to show, possibly empty."""

    said: str = ""


class Person(Model):
    """Somebody with an account; `classes` is ("*",) for all of them. Pages send `csrf` back in their forms.

    `trouble` is a sentence for every page while libvirt cannot be asked, "" else.
    """

    name: str
    shown: str
    role: Role
    language: Language | None = None
    classes: tuple[str, ...] = ()
    csrf: str = ""
    must_choose_password: bool = False
    expires: str = ""
    unread: int = 0
    trouble: str = ""


class Session(Model):
    """A session that has begun: the cookie's value. With `must_choose_password` nothing else can be asked with it."""

    token: str
    person: Person


class CheckCounts(Model):
    """How the last checks stand; all 0 where none was ever run."""

    passed: int = 0
    failed: int = 0
    unknown: int = 0
    total: int = 0


class JobLine(Model):
    """One job. `ahead` is how many are before it in the queue; `fraction` how far it is, from 0 to 1, if known.

    `step` says what it is doing, `error` why it failed, `hint` what to do about it.
    """

    id: int
    lab: str
    verb: str
    words: str
    nodes: tuple[str, ...] = ()
    who: str = ""
    state: JobState
    state_words: str = ""
    ahead: int = 0
    fraction: float | None = None
    step: str = ""
    at: str = ""
    started: str = ""
    ended: str = ""
    error: str = ""
    hint: str = ""


class Jobs(Model):
    """Jobs, the newest first."""

    jobs: tuple[JobLine, ...] = ()


class Accepted(Model):
    """A job was stored; `new` is False where the same was waiting already and this is that one."""

    job: JobLine
    new: bool = True


class LabLine(Model):
    """One lab in a list.

    `suspend_at` is when it will be suspended if nobody uses it, `ends` when its class's session ends; "" for never.
    """

    lab: str
    topology: str
    title: str
    owner: str
    owner_name: str
    state: LabState
    words: str
    nodes_ready: int = 0
    nodes: int = 0
    checks: CheckCounts = CheckCounts()
    job: JobLine | None = None
    suspend_at: str = ""
    ends: str = ""
    made: str = ""


class MyLabs(Model):
    """The labs of the person who asks."""

    labs: tuple[LabLine, ...] = ()


class NodeLine(Model):
    """One machine. `addresses` are those inside the lab, as (network card, network, address); `why` explains a state.

    `state`: ready, not configured, silent, paused, stopped, crashed, missing; `holders` have a console of it open.
    """

    node: str
    state: str
    words: str
    why: str = ""
    description: str = ""
    image: str = ""
    services: tuple[str, ...] = ()
    addresses: tuple[tuple[str, str, str], ...] = ()
    consoles: tuple[ConsoleMode, ...] = ()
    holders: tuple[str, ...] = ()


class CheckpointLine(Model):
    """A kept step of a lab."""

    name: str
    kept: str
    by: str
    bytes: int


class LabSheet(Model):
    """One lab with all that its page shows. `verbs` has each verb of the page: "" allowed, else why not.

    `exam` is the session that a lab belongs to, "" for none.
    """

    line: LabLine
    description: str = ""
    nodes: tuple[NodeLine, ...] = ()
    checkpoints: tuple[CheckpointLine, ...] = ()
    jobs: tuple[JobLine, ...] = ()
    verbs: dict[str, str] = Field(default_factory=dict)
    checked_at: str = ""
    exam: str = ""


class Statement(Model):
    """What students are asked to do, as the source of Markdown without HTML of its own."""

    title: str
    markdown: str


class Drawing(Model):
    """The lab as SVG, each machine in a group `<g id="node-NAME" class="node">`, and the same as text."""

    svg: str
    text: str
    nodes: tuple[str, ...] = ()


class CheckLine(Model):
    """One check as a student may see it; `result` is passed, failed, unknown or "", `hints` those asked for already."""

    id: CheckName
    title: str
    competency: str
    result: str
    words: str
    hints: tuple[str, ...] = ()
    hints_left: int = 0
    after_reboot: bool = False


class Feedback(Model):
    """The last results of a lab's checks."""

    lab: str
    at: str = ""
    counts: CheckCounts = CheckCounts()
    checks: tuple[CheckLine, ...] = ()


class Hints(Model):
    """The first hints of one check, and how many there are beyond."""

    check: CheckName
    hints: tuple[str, ...] = ()
    left: int = 0


class Ticket(Model):
    """A right to open one console once, within `seconds`, in the session that asked for it."""

    ticket: str
    lab: str
    node: str
    mode: ConsoleMode
    view_only: bool = False
    seconds: int = 30


class ConsoleOpened(Model):
    """A console is open; its descriptor comes with this line by SCM_RIGHTS. It ends when the worker cuts it."""

    console: int
    lab: str
    node: str
    mode: ConsoleMode
    view_only: bool = False
    holders: tuple[str, ...] = ()


class ClassLine(Model):
    """One class."""

    name: str
    students: int
    labs: int
    topologies: tuple[str, ...] = ()


class Classes(Model):
    """The classes of the person who asks, and the topologies that labs may be made of, as (name, title)."""

    classes: tuple[ClassLine, ...] = ()
    topologies: tuple[tuple[str, str], ...] = ()


class BoardCell(Model):
    """One machine on a board."""

    node: str
    state: str
    words: str


class BoardRow(Model):
    """One student's lab on a board; `called` is what the student last called the trainer for, "" for nothing."""

    owner: str
    name: str
    lab: str
    topology: str
    state: LabState
    words: str
    cells: tuple[BoardCell, ...] = ()
    checks: CheckCounts = CheckCounts()
    job: JobLine | None = None
    called: str = ""
    called_at: str = ""
    connected: bool = False
    suspend_at: str = ""


class Board(Model):
    """A class: one row for each lab of each student, students without a lab too (`lab` is ""); `ends` as for a lab."""

    class_name: str
    ends: str = ""
    nodes: tuple[str, ...] = ()
    rows: tuple[BoardRow, ...] = ()
    at: str = ""


class Acted(Model):
    """What became of one act on many labs: jobs of those that were accepted, and why the others were not."""

    jobs: tuple[JobLine, ...] = ()
    refused: dict[str, str] = Field(default_factory=dict)


class MessageLine(Model):
    """A message to a student, or a call for the trainer."""

    id: int
    at: str
    sender: str
    sender_name: str
    text: str
    lab: str = ""
    call: bool = False


class Messages(Model):
    """Messages, the newest first."""

    messages: tuple[MessageLine, ...] = ()


class LogLine(Model):
    """Who did what, and what was refused."""

    id: int
    at: str
    who: str
    what: str
    lab: str = ""
    detail: str = ""
    address: str = ""
    refused: bool = False


class Log(Model):
    """Lines of the log, the newest first; `before` is what to ask with for older ones, 0 for none."""

    lines: tuple[LogLine, ...] = ()
    before: int = 0


class GridAnswer(Model):
    """The grid of a class by competency, with the keys of `labctl report --format json`."""

    class_name: str
    grid: JsonValue


class Document(Model):
    """A file to download; `content` is base64."""

    name: str
    media_type: str
    content: str


class Account(Model):
    """One account for those who look after them. `code` is one that was just drawn, "" else."""

    name: str
    shown: str
    role: Role
    classes: tuple[str, ...] = ()
    last_login: str = ""
    has_password: bool = False
    closed: bool = False
    code: str = ""


class Accounts(Model):
    """Accounts by name."""

    accounts: tuple[Account, ...] = ()


class Health(Model):
    """Whether the worker and libvirt answer; `said` is why not."""

    worker: bool = True
    libvirt: bool = True
    said: str = ""
    version: str = ""
    sessions: int = 0
    subscribers: int = 0


class Subscribed(Model):
    """Events follow on this connection, one a line."""

    labs: tuple[str, ...] = ()


class Event(Model):
    """Something that changed. `kind` is lab, node, job, checks, message, call, console, exam, host, session or pulse.

    lab, node: `state` and `words` are those of the lab, or of `node` in it. `session` says that the session that
    listens has ended, `host` that libvirt is away or there again; `pulse` comes every 15 seconds, so that a dead
    connection shows.
    """

    kind: str
    at: str = ""
    lab: str = ""
    owner: str = ""
    node: str = ""
    state: str = ""
    words: str = ""
    checks: CheckCounts | None = None
    job: JobLine | None = None
    message: MessageLine | None = None
