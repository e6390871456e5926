"""The part of the stand-in that answers about exams: three candidates, in a state that tests choose."""

from dataclasses import dataclass, field

from labctl.worker import answers as a
from labctl.worker import exam_answers as e
from labctl.worker import exam_requests as q
from labctl.worker.values import ConsoleMode, JobState, Refusal, Role
from labctl.worker.wire import NotDone

AT = "2026-03-12T09:15:02+00:00"
SESSION, LAB = "e6-2027", "dmz-c001"
HOSTILE = '<script>alert("1")</script> {{ 7*7 }}'
NUMBERS = ("001", "002", "003")
DEMAND = f"""
La mairie de **Valmont** ouvre un site. {HOSTILE} <b>HTML</b> [lien](javascript:alert(1)).

## Travail demandé

1. Publier le site `www.valmont.example` sur 192.168.50.80.
2. Sauvegarder chaque nuit.
"""
WORDS = {
    "waiting": "pas commencé", "working": "au travail", "paused": "en pause", "frozen": "figé",
    "showing": "en présentation", "ended": "terminé",
}  # fmt: skip
MACHINES = {"running": "fonctionne", "paused": "est suspendue", "stopped": "est éteinte", "crashed": "a planté"}


@dataclass
class FakeExam:
    """What an exam is like; `exam_refused` is what an act is refused with, by number."""

    exam_state: str = "working"
    exam_left: float = 2820.0
    exam_scope: str = "machine"
    exam_resets: int = 1
    exam_messages: list[str] = field(default_factory=list)
    exam_machines: tuple[str, ...] = ("running", "running")
    exam_refused: dict[str, str] = field(default_factory=dict)
    exam_slow: bool = False
    supervised: bool = True
    exam_marks: tuple[int, ...] = (1800, 900, 600, 300, 120, 60)

    def exam_nodes(self) -> tuple[e.ExamNode, ...]:
        states = self.exam_machines if self.exam_state in {"working", "showing"} else ("paused", "paused")
        return tuple(
            e.ExamNode(
                node=name, state=state, words=MACHINES[state], description=f"machine {name}",
                addresses=(("lan", "lan", "172.16.10.254"),),
                consoles=(ConsoleMode.GRAPHICS, ConsoleMode.TEXT) if state in {"running", "paused"} else (),
            )
            for name, state in zip(("fw", "web"), states, strict=True)
        )  # fmt: skip

    def exam_clock(self) -> e.Clock:
        if self.exam_state == "waiting":
            return e.Clock()
        going = self.exam_state in {"working", "paused", "showing"}
        return e.Clock(
            phase="practical", words="Travail sur les machines", left=self.exam_left if going else None,
            deadline="2026-03-12T10:15:02+00:00" if going else "", paused=self.exam_state == "paused",
            extended=300.0 if going else 0.0, marks=self.exam_marks,
        )  # fmt: skip

    def require_role(self, person: a.Person, *roles: Role) -> None:
        if person.role not in roles:
            raise NotDone(Refusal.FORBIDDEN, "this is not for your account")

    def exam(self, _request: q.AskExam, person: a.Person) -> e.ExamPage:
        self.require_role(person, Role.CANDIDATE)
        may = self.exam_state == "working"
        runs = self.exam_state in {"working", "showing"}
        why = "" if runs else "votre travail est figé"
        shown = self.exam_state not in {"waiting", "ended"}
        return e.ExamPage(
            session=SESSION, number=person.name[1:], title="Ouvrir le site de la mairie", rehearsal=True,
            lab=f"dmz-{person.name}", state=self.exam_state, words=WORDS[self.exam_state],
            said="Vous pouvez travailler sur vos machines." if may else "Votre travail est terminé et figé.",
            clock=self.exam_clock(), markdown=DEMAND if shown else "", nodes=self.exam_nodes() if shown else (),
            messages=tuple(e.ProctorMessage(at=AT, text=text) for text in self.exam_messages),
            scope=self.exam_scope, resets_left=self.exam_resets,
            verbs={
                "console": why, "exam_wake": "" if may else why,
                "exam_reset": "" if may and self.exam_resets else "non",
            },
        )  # fmt: skip

    def exam_job(self, request: q.ExamReset | q.ExamWake, person: a.Person) -> a.Accepted:
        self.require_role(person, Role.CANDIDATE)
        return a.Accepted(
            job=a.JobLine(id=9, lab=LAB, verb=request.kind, words="remise à zéro", state=JobState.WAITING)
        )

    exam_reset = exam_wake = exam_job

    def exams(self, _request: q.AskExams, person: a.Person) -> e.Exams:
        self.require_role(person, Role.PROCTOR, Role.ADMIN)
        line = e.ExamLine(
            session=SESSION, stage="started", words="commencée", title=HOSTILE, rehearsal=True, candidates=3
        )
        return e.Exams(exams=(line,))

    def exam_board(self, request: q.AskExamBoard, person: a.Person) -> e.ExamBoard:
        self.require_role(person, Role.PROCTOR, Role.ADMIN)
        if request.session != SESSION:
            raise NotDone(Refusal.UNKNOWN, "there is no such exam session")
        late = e.BoardAlert(text="délai passé, pas figé", urgent=True, why="le disque est plein")
        rows = tuple(
            e.ExamRow(
                number=number, lab=f"dmz-c{number}", state=self.exam_state, words=WORDS[self.exam_state],
                clock=self.exam_clock(), nodes=self.exam_nodes(), consoles=place, connected=place != 1,
                alerts=(late,) if place == 2 else (e.BoardAlert(text="bientôt fini"),) if place == 1 else (),
            )
            for place, number in enumerate(NUMBERS)
        )  # fmt: skip
        alone = e.BoardAlert(text="pas de superviseur : rien ne gèle tout seul", urgent=True)
        return e.ExamBoard(
            session=SESSION, title="Ouvrir le site de la mairie", stage="started", words="commencée", rehearsal=True,
            at=AT, rows=rows, alerts=() if self.supervised else (alone,),
            supervisor=e.Supervision(alive=self.supervised, looked=AT, next_freeze=AT if self.supervised else ""),
        )  # fmt: skip

    def exam_act(self, request: q.ExamAct, person: a.Person) -> e.ExamActed:
        self.require_role(person, Role.PROCTOR, Role.ADMIN)
        numbers = NUMBERS if request.everybody else request.numbers
        if self.exam_slow:
            return e.ExamActed(under_way=numbers)
        done = tuple(number for number in numbers if number not in self.exam_refused)
        return e.ExamActed(done=done, refused=self.exam_refused)
