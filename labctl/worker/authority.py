"""Role, relation to the lab or class, verb and the lab's state to a decision: allowed, or a sentence why not.

Pure, and the only place that knows who may do what. The worker asks it again for every request, whatever the page
showed. What no rule allows is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from labctl.language import N_, _
from labctl.worker.values import LabState, Refusal, Role


class Relation(StrEnum):
    """What a lab or a class is to the person: their own, of a class of theirs, or somebody else's."""

    OWN = "own"
    CLASS = "class"
    OTHER = "other"


class About(StrEnum):
    """What a verb is about: a lab, a class, the person, or the whole installation."""

    LAB = "lab"
    CLASS = "class"
    PERSON = "person"
    SITE = "site"


@dataclass(frozen=True)
class Rule:
    """Who may use a verb on what; `states` are those of a lab in which it makes sense."""

    about: About
    relations: Mapping[Role, frozenset[Relation]]
    states: frozenset[LabState]


@dataclass(frozen=True)
class Verdict:
    """Why something is refused; `sentence` is an English message id."""

    refusal: Refusal
    sentence: str

    def tell(self) -> str:
        """Return the sentence in the reader's language."""
        return _(self.sentence)


OWN = frozenset({Relation.OWN})
CLASS = frozenset({Relation.OWN, Relation.CLASS})
ANY = frozenset(Relation)

OWNERS = frozenset({Role.STUDENT, Role.CANDIDATE})
STUDENT = {Role.STUDENT: OWN}
TRAINER = {Role.TRAINER: CLASS, Role.ADMIN: ANY}
PROCTOR = {Role.PROCTOR: CLASS}
EVERYBODY = dict.fromkeys(Role, OWN)
WITH_LABS: Mapping[Role, frozenset[Relation]] = {
    role: OWN for role in Role if role is not Role.CANDIDATE
}  # who sits an exam has that alone

EVERY_STATE = frozenset(LabState)
MADE = EVERY_STATE - {LabState.ABSENT}
ON = frozenset({LabState.READY, LabState.PARTLY, LabState.FAILED})  # at least one machine may run, and no run holds it
SEEN = ON | {LabState.WORKING}
QUIET = MADE - {LabState.WORKING}
ASLEEP = frozenset({LabState.SUSPENDED, LabState.STOPPED, LabState.PARTLY, LabState.FAILED})


def rules(
    about: About, verbs: str, relations: Mapping[Role, frozenset[Relation]], states: frozenset[LabState] = EVERY_STATE
) -> dict[str, Rule]:
    """Return the same rule for several verbs."""
    return {verb: Rule(about, relations, states) for verb in verbs.split()}


# Consoles stand as two verbs: typing in one changes the lab, watching does not.
RULES: Mapping[str, Rule] = {
    **rules(About.LAB, "lab statement drawing feedback", {**STUDENT, **TRAINER, **PROCTOR}),
    **rules(About.LAB, "run_checks", {**STUDENT, **TRAINER}, ON),
    **rules(About.LAB, "hint", {**STUDENT, **TRAINER}, MADE),
    **rules(About.LAB, "reset checkpoint_restore", {**STUDENT, **TRAINER}, MADE),
    **rules(About.LAB, "checkpoint_save", {**STUDENT, **TRAINER}, ON),
    **rules(About.LAB, "checkpoint_remove", {**STUDENT, **TRAINER}, QUIET),
    **rules(About.LAB, "call_trainer", STUDENT),
    **rules(About.LAB, "answer_call", {**TRAINER, **PROCTOR}),
    **rules(About.LAB, "console", {**STUDENT, **TRAINER}, SEEN),
    **rules(About.LAB, "console_view", {**STUDENT, **TRAINER, **PROCTOR}, SEEN),
    **rules(About.LAB, "wake", {**STUDENT, **TRAINER}, ASLEEP),
    **rules(About.LAB, "suspend", TRAINER, ON),
    **rules(About.LAB, "down", TRAINER, QUIET),
    **rules(About.LAB, "report_lab", TRAINER),
    **rules(About.LAB, "log_lab", {**TRAINER, **PROCTOR}),
    **rules(About.CLASS, "board message log_class", {**TRAINER, **PROCTOR}),
    **rules(About.CLASS, "forecast start set_end grid report_class accounts_class new_code", TRAINER),
    **rules(About.PERSON, "whoami choose_password logout choose_language subscribe", EVERYBODY),
    **rules(About.PERSON, "my_labs messages jobs", WITH_LABS),
    **rules(About.PERSON, "classes log act", {**TRAINER, **PROCTOR}),
    **rules(About.SITE, "accounts set_account", {Role.ADMIN: ANY}),
}
WITHOUT_SESSION = frozenset({"login", "health"})
BEFORE_PASSWORD = frozenset({"whoami", "choose_password", "logout", "choose_language"})

NOT_YOURS = {
    About.LAB: N_("this lab is not yours"), About.CLASS: N_("this class is not yours"),
    About.PERSON: N_("this is not for your account"), About.SITE: N_("this is not for your account"),
}  # fmt: skip
NOT_NOW = {
    LabState.WORKING: N_("somebody or something is at work on this lab: wait until it has ended"),
    LabState.SUSPENDED: N_("this lab is suspended: wake it first"),
    LabState.STOPPED: N_("the machines of this lab are switched off: wake it first"),
    LabState.ABSENT: N_("this lab has not been started yet"),
    LabState.READY: N_("this lab is running already"),
    LabState.PARTLY: N_("this cannot be done while some machines of the lab are not ready"),
    LabState.FAILED: N_("this cannot be done while the machines of the lab have failed"),
}


def decide(verb: str, role: Role, relation: Relation, state: LabState | None = None) -> Verdict | None:
    """Return None where somebody may, else why not. `state` is that of the lab, None for verbs about something else."""
    rule = RULES.get(verb)
    if rule is None:
        return Verdict(Refusal.FORBIDDEN, NOT_YOURS[About.SITE])
    allowed = rule.relations.get(role)
    if allowed is None:
        # Who may not do it anywhere is told so; which labs exist is nobody else's business.
        return Verdict(Refusal.FORBIDDEN, NOT_YOURS[rule.about if role in OWNERS else About.SITE])
    if relation not in allowed:
        return Verdict(Refusal.FORBIDDEN, NOT_YOURS[rule.about])
    if rule.about is About.LAB and (state is None or state not in rule.states):
        return Verdict(Refusal.NOT_NOW, NOT_NOW[state or LabState.ABSENT])
    return None


def relate(role: Role, name: str, classes: frozenset[str], owner: str, owner_classes: frozenset[str]) -> Relation:
    """Return what the lab of an owner is to a person; "*" among the classes of a trainer stands for everybody."""
    if role in OWNERS:
        return Relation.OWN if owner == name else Relation.OTHER
    if owner == name:
        return Relation.OWN
    return Relation.CLASS if "*" in classes or classes & owner_classes else Relation.OTHER


def relate_class(role: Role, classes: frozenset[str], class_name: str) -> Relation:
    """Return what a class is to a person."""
    mine = role not in OWNERS and ("*" in classes or class_name in classes)
    return Relation.CLASS if mine else Relation.OTHER
