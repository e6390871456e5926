"""A stand-in for the worker behind its Protocol: a class of 24 with five machines each, held in memory."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from labctl.language import speaking
from labctl.worker import answers as a
from labctl.worker import forecast_answers as f
from labctl.worker import requests as r
from labctl.worker.client import OpenedConsole
from labctl.worker.values import ConsoleMode, JobState, LabState, Model, Refusal, Role
from labctl.worker.wire import NotDone
from tests.portal.fake_exam import FakeExam

A = TypeVar("A", bound=Model)
AT = "2026-03-12T09:15:02+00:00"
CLASS = "sisr2"
NODES = ("fw", "web", "dns", "annuaire", "client")
HOSTILE = '<script>alert("1")</script> {{ 7*7 }}'
VERBS = (
    "run_checks", "hint", "reset", "checkpoint_save", "checkpoint_restore", "checkpoint_remove", "call_trainer",
    "console", "console_view", "wake", "suspend",
)  # fmt: skip
STATEMENT = """
# Mettre un site en DMZ

Le club <b>Les Cimes</b> montre ses sorties. <script>alert(1)</script> Voir [le site](https://www.cimes.example/) ou
[ceci](javascript:alert(1)). ![image](https://elsewhere.example/x.png)

| Machine | Adresse | Rôle |
| --- | --- | --- |
| `fw` | 172.16.10.254 | pare-feu |
| `web` | 192.168.50.80 | site |

## À faire

1. **Lire.** Dessinez la matrice des flux à partir de `/etc/nftables.conf`.
2. **Prouver.** Testez chaque case depuis la bonne machine.

```
nft list ruleset
curl -v http://www.cimes.example/
```
"""


def draw(nodes: tuple[str, ...]) -> str:
    """Return what Graphviz writes, with what a page must not take over."""
    groups = [
        f'<g id="node-{name}" class="node"><title>{name}</title><polygon fill="#e7f6e7" stroke="black" '
        f'points="{90 + 150 * i},-20 {90 + 150 * i},-70 {200 + 150 * i},-70 {200 + 150 * i},-20"/>'
        f'<text text-anchor="middle" x="{145 + 150 * i}" y="-42" font-family="sans" font-size="12" '
        f'onclick="alert(1)">{name}</text><text text-anchor="middle" x="{145 + 150 * i}" y="-28" font-family="sans" '
        f'font-size="10">debian-13</text></g>'
        for i, name in enumerate(nodes)
    ]
    edges = [
        f'<g id="edge{i}" class="edge"><path fill="none" stroke="black" d="M{145 + 150 * i},-70 L430,-130"/></g>'
        for i in range(len(nodes))
    ]
    net = (
        '<g id="node1" class="node"><path fill="#fff3d6" d="M330,-130 h200 v-40 h-200 z"/>'
        '<text text-anchor="middle" x="430" y="-146" font-size="12">lan 172.16.10.0/24</text></g>'
    )
    return (
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="860pt" height="200pt" '
        'viewBox="0 0 860 200"><script>alert(1)</script><g id="graph0" class="graph" transform="translate(4 196)">'
        f'<polygon fill="white" points="0,0 0,-190 850,-190 850,0"/>{net}{"".join(edges + groups)}</g></svg>'
    )


@dataclass
class FakeWorker(FakeExam):
    """Answers like the worker. `asked` keeps every request; `refuse` has the error for a kind."""

    students: int = 24
    asked: list[r.Ask[Any]] = field(default_factory=list)
    refuse: dict[str, NotDone] = field(default_factory=dict)
    verbs: dict[str, str] = field(default_factory=dict)
    state: LabState = LabState.READY
    job: a.JobLine | None = None
    unread: int = 0
    ends: str = ""
    trouble: str = ""
    hints: int = 0
    names: dict[str, str] = field(default_factory=dict)
    must_choose: bool = False
    checkpoints: list[str] = field(default_factory=lambda: ["etape-3"])
    listeners: list[asyncio.Queue[a.Event | None]] = field(default_factory=list)

    async def ask(self, request: r.Ask[A]) -> A:
        """Return the answer to a request."""
        self.asked.append(request)
        kind = str(getattr(request, "kind", ""))
        if kind in self.refuse:
            raise self.refuse[kind]
        with speaking(request.language):
            if kind == "login":
                return cast("A", self.login(cast("r.Login", request)))
            if kind == "health":
                return cast("A", a.Health())
            person = self.person(request.token)
            found: Callable[[Any, a.Person], Model] = getattr(self, kind)
            return cast("A", found(request, person))

    def events(self, event: a.Event | None) -> None:
        """Tell all who listen of an event, or, with None, that the worker goes."""
        for queue in self.listeners:
            queue.put_nowait(event)

    async def listen(self, request: r.Subscribe) -> AsyncIterator[a.Event]:
        """Yield events."""
        self.asked.append(request)
        self.person(request.token)
        queue: asyncio.Queue[a.Event | None] = asyncio.Queue()
        self.listeners.append(queue)
        try:
            while event := await queue.get():
                yield event
        finally:
            self.listeners.remove(queue)

    async def open_console(self, request: r.OpenConsole) -> OpenedConsole:
        """Open no console."""
        raise NotDone(Refusal.NOT_NOW, request.ticket)

    def person(self, token: str) -> a.Person:
        """Return whose session a token is: its first part is the name."""
        name, _dash, secret = token.partition("-")
        roles = {"durand": Role.TRAINER, "chef": Role.ADMIN, "garde": Role.PROCTOR}
        candidate = name.startswith("c0")
        if secret != "secret" or not (name in roles or candidate or name.startswith("e")):
            raise NotDone(Refusal.LOGIN_NEEDED, "log in")
        known = {"durand": "Mme Durand", "garde": "M. Garde"}
        shown = self.names.get(name, known.get(name, name[1:] if candidate else f"Élève {name[1:]}"))
        role = roles.get(name, Role.CANDIDATE if candidate else Role.STUDENT)
        return a.Person(
            name=name, shown=shown, role=role, classes=(CLASS,), csrf=f"csrf-{name}",
            must_choose_password=self.must_choose, unread=self.unread, trouble=self.trouble,
        )  # fmt: skip

    def login(self, request: r.Login) -> a.Session:
        """Begin a session."""
        if request.secret not in {"code-1", "a long password"}:
            raise NotDone(Refusal.WRONG_SECRET, "this name and this code do not go together")
        self.must_choose = request.secret == "code-1"
        token = f"{request.name}-secret"
        return a.Session(token=token, person=self.person(token))

    def choose_password(self, request: r.ChoosePassword, person: a.Person) -> a.Session:
        if len(request.new) < 10:
            raise NotDone(Refusal.MALFORMED, "ten characters or more")
        self.must_choose = False
        return a.Session(token=f"{person.name}-secret", person=person)

    def logout(self, _request: r.Logout, _person: a.Person) -> a.Done:
        return a.Done()

    def choose_language(self, _request: r.ChooseLanguage, _person: a.Person) -> a.Done:
        return a.Done()

    def whoami(self, _request: r.Whoami, person: a.Person) -> a.Person:
        return person

    def owned(self, lab: str, person: a.Person) -> str:
        """Return the owner of a lab that a person may see."""
        owner = lab.removeprefix("dmz-")
        if person.role is Role.STUDENT and owner != person.name:
            raise NotDone(Refusal.FORBIDDEN, "this lab is not yours")
        if owner not in self.owners():
            raise NotDone(Refusal.UNKNOWN, "there is no such lab")
        return owner

    def owners(self) -> list[str]:
        return [f"e{number:02}" for number in range(1, self.students + 1)]

    def line(self, owner: str) -> a.LabLine:
        """Return a lab in a list."""
        return a.LabLine(
            lab=f"dmz-{owner}", topology="dmz", title="Un serveur web que l'extérieur atteint", owner=owner,
            owner_name=self.names.get(owner, f"Élève {owner[1:]}"), state=self.state, words=WORDS[self.state],
            nodes_ready=5 if self.state is LabState.READY else 3, nodes=5, job=self.job,
            checks=a.CheckCounts(passed=18, failed=4, unknown=2, total=24), made=AT, ends=self.ends,
        )  # fmt: skip

    def my_labs(self, _request: r.AskMyLabs, person: a.Person) -> a.MyLabs:
        return a.MyLabs(labs=(self.line(person.name),) if person.name in self.owners() else ())

    def lab(self, request: r.AskLab, person: a.Person) -> a.LabSheet:
        owner = self.owned(request.lab, person)
        states = ["ready", "ready", "not configured", "crashed", "stopped"]
        nodes = tuple(
            a.NodeLine(
                node=name,
                state=state,
                words=NODE_WORDS[state],
                description=f"machine {name}",
                services=("dns",),
                why="son processus QEMU est mort" if state == "crashed" else "",
                addresses=(("lan", "lan", "172.16.10.254"),),
                consoles=tuple(ConsoleMode),
                holders=("Mme Durand",) if name == "fw" else (),
            )
            for name, state in zip(NODES, states if self.state is not LabState.READY else ["ready"] * 5, strict=True)
        )
        kept = tuple(a.CheckpointLine(name=name, kept=AT, by=owner, bytes=1 << 29) for name in self.checkpoints)
        return a.LabSheet(
            line=self.line(owner), nodes=nodes, checkpoints=kept, jobs=(self.job,) if self.job else (),
            verbs={**dict.fromkeys(VERBS, ""), **self.verbs}, checked_at=AT,
        )  # fmt: skip

    def statement(self, request: r.AskStatement, person: a.Person) -> a.Statement:
        self.owned(request.lab, person)
        return a.Statement(title="Mettre un site en DMZ", markdown=STATEMENT)

    def drawing(self, request: r.AskDrawing, person: a.Person) -> a.Drawing:
        self.owned(request.lab, person)
        return a.Drawing(svg=draw(NODES), text="lan", nodes=NODES)

    def feedback(self, request: r.AskFeedback, person: a.Person) -> a.Feedback:
        self.owned(request.lab, person)
        results = ("passed", "failed", "unknown", "")
        words = {"passed": "réussi", "failed": "échec", "unknown": "non vérifiable", "": ""}
        titles = (
            "Le site répond en HTTPS", "Le site est publié vers l'extérieur", "Le pare-feu démarre tout seul",
            "Le nom du site est connu de l'extérieur", "Le réseau local sort par le pare-feu",
            "La DMZ n'ouvre rien dans le réseau local", "SSH ne s'ouvre pas de l'extérieur", "Le certificat est bon",
        )  # fmt: skip
        checks = tuple(
            a.CheckLine(
                id=f"check-{number}",
                title=titles[number],
                competency="B2.2.1",
                result=results[number % 4],
                words=words[results[number % 4]],
                after_reboot=number == 2,
                hints=("Regardez la table de routage.",) * self.hints,
                hints_left=2 - self.hints,
            )
            for number in range(len(titles))
        )
        return a.Feedback(
            lab=request.lab, at=AT, counts=a.CheckCounts(passed=2, failed=2, unknown=2, total=6), checks=checks
        )

    def hint(self, request: r.AskHint, person: a.Person) -> a.Hints:
        self.owned(request.lab, person)
        self.hints = request.n
        return a.Hints(check=request.check, hints=("Regardez la table de routage.",))

    def accepted(self, request: Any, person: a.Person) -> a.Accepted:
        """Store a job."""
        owner = self.owned(request.lab, person) if hasattr(request, "lab") else ""
        self.job = a.JobLine(
            id=7, lab=f"dmz-{owner}", verb=request.kind, words="remise à zéro de web", who=person.shown,
            state=JobState.RUNNING, state_words="en cours", fraction=0.4, step="démarrage de web", at=AT, started=AT,
        )  # fmt: skip
        return a.Accepted(job=self.job)

    run_checks = reset = checkpoint_save = checkpoint_restore = checkpoint_remove = wake = suspend = start = accepted

    def call_trainer(self, request: r.CallTrainer, person: a.Person) -> a.Done:
        self.owned(request.lab, person)
        return a.Done()

    def answer_call(self, _request: r.AnswerCall, person: a.Person) -> a.Done:
        self.staff(person)
        return a.Done()

    def messages(self, _request: r.AskMessages, _person: a.Person) -> a.Messages:
        return a.Messages(
            messages=(a.MessageLine(id=1, at=AT, sender="durand", sender_name="Mme Durand", text=f"Pause {HOSTILE}"),)
        )

    def staff(self, person: a.Person) -> None:
        """Raise NotDone for students."""
        if person.role is Role.STUDENT:
            raise NotDone(Refusal.FORBIDDEN, "this is for trainers")

    def classes(self, _request: r.AskClasses, person: a.Person) -> a.Classes:
        self.staff(person)
        one = a.ClassLine(name=CLASS, students=self.students, labs=self.students, topologies=("dmz",))
        return a.Classes(classes=(one,), topologies=(("dmz", "Un site en DMZ"), ("annuaire", "Un annuaire")))

    def board(self, request: r.AskBoard, person: a.Person) -> a.Board:
        self.staff(person)
        if request.class_name != CLASS:
            raise NotDone(Refusal.UNKNOWN, "there is no such class")
        rows = []
        for number, owner in enumerate(self.owners()):
            states = ["ready"] * 5
            state = LabState.READY
            if number % 6 == 3:
                states[number % 5], state = "crashed", LabState.PARTLY
            if number % 11 == 5:
                states, state = ["stopped"] * 5, LabState.STOPPED
            cells = tuple(a.BoardCell(node=n, state=s, words=NODE_WORDS[s]) for n, s in zip(NODES, states, strict=True))
            rows.append(
                a.BoardRow(
                    owner=owner,
                    name=self.names.get(owner, f"Élève {owner[1:]}"),
                    lab=f"dmz-{owner}",
                    topology="dmz",
                    state=state,
                    words=WORDS[state],
                    cells=cells,
                    connected=number % 2 == 0,
                    checks=a.CheckCounts(passed=number, failed=24 - number, total=24),
                    job=self.job,
                    called="Le DNS ne répond plus" if number == 4 else "",
                    called_at=AT if number == 4 else "",
                )
            )
        return a.Board(class_name=CLASS, ends=self.ends, nodes=NODES, rows=tuple(rows), at=AT)

    def forecast(self, request: r.AskForecast, person: a.Person) -> f.ForecastAnswer:
        self.staff(person)
        shares = (
            f.ForecastShare(resource="Mémoire", each="1,2 Gio", free="18,4 Gio", fits=15),
            f.ForecastShare(resource="Disque", each="0,8 Gio", free="210,0 Gio", fits=262),
        )
        small = bool(request.owners)
        return f.ForecastAnswer(
            topology=request.topology, wanted=len(request.owners) or self.students, existing=0, fits=15,
            said="Tout tient." if small else "15 labos tiennent sur 24 : la mémoire s'arrête là.", seconds=180.0,
            shares=shares, allowed=small,
        )  # fmt: skip

    def act(self, request: r.Act, person: a.Person) -> a.Acted:
        self.staff(person)
        refused = {lab: "un autre travail est en cours" for lab in request.labs if lab == "dmz-e02"}
        return a.Acted(jobs=(), refused=refused)

    def message(self, _request: r.SendMessage, person: a.Person) -> a.Done:
        self.staff(person)
        return a.Done()

    def set_end(self, request: r.SetEnd, person: a.Person) -> a.Done:
        self.staff(person)
        self.ends = request.ends
        return a.Done()

    def log(self, _request: r.AskLog, person: a.Person) -> a.Log:
        self.staff(person)
        lines = tuple(
            a.LogLine(id=n, at=AT, who="e01", what="remise à zéro", lab="dmz-e01", address="10.0.0.7", refused=n == 2)
            for n in range(5)
        )
        return a.Log(lines=lines, before=3)

    def grid(self, request: r.AskGrid, person: a.Person) -> a.GridAnswer:
        self.staff(person)
        score = {"id": "B2.2.1", "title": "Déterminer", "points": 3, "worth": 4, "undecided": 1}
        labs = [
            {"lab": f"dmz-{o}", "student": o, "competencies": [score], "total": score, "verdict": {"ruling": "refused"}}
            for o in self.owners()
        ]
        grid: Any = {"competencies": [{"id": "B2.2.1", "title": "Déterminer"}], "labs": labs, "total": score}
        return a.GridAnswer(class_name=request.class_name, grid=grid)

    def report(self, request: r.AskReport, person: a.Person) -> a.Document:
        self.staff(person)
        content = base64.b64encode(b"%PDF-1.7").decode()
        return a.Document(name=f"grille é.{request.format}", media_type="application/pdf", content=content)

    def accounts(self, _request: r.AskAccounts, person: a.Person) -> a.Accounts:
        self.staff(person)
        accounts = [
            a.Account(name=o, shown=f"Élève {o[1:]}", role=Role.STUDENT, classes=(CLASS,)) for o in self.owners()
        ]
        return a.Accounts(accounts=tuple(accounts))

    def new_code(self, request: r.NewCode, person: a.Person) -> a.Accounts:
        self.staff(person)
        return a.Accounts(
            accounts=(a.Account(name=request.name, shown="Élève", role=Role.STUDENT, code="kilo-mars-42"),)
        )


WORDS = {
    LabState.READY: "prêt", LabState.WORKING: "en cours", LabState.PARTLY: "en partie prêt",
    LabState.STOPPED: "à l'arrêt", LabState.FAILED: "en échec", LabState.SUSPENDED: "suspendu",
    LabState.ABSENT: "pas encore fait",
}  # fmt: skip
NODE_WORDS = {
    "ready": "prête", "not configured": "en préparation", "silent": "ne répond pas", "paused": "en pause",
    "stopped": "à l'arrêt", "crashed": "plantée", "missing": "absente",
}  # fmt: skip
