"""What is kept of labs, their copies of topologies and the last results of their checks, to acceptance sheets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from labctl.errors import LabctlError
from labctl.lab.own_values import read_own
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.report.sheet import Found, Sheet, Subject, make_sheet, read_found
from labctl.roster import Student
from labctl.topology.model import Topology


class NoChecks(LabctlError):
    """The topology of a lab has no checks."""


class NeverChecked(LabctlError):
    """The checks of a lab were never run."""


def find_sheet(place: Workplace, lab: str, language: str) -> Sheet:
    """Return the sheet of one lab. Raises LabctlError where it is unknown, NoChecks, NeverChecked."""
    topology = place.load_lab(lab)
    if not topology.checks:
        text = _('the topology of the lab "{lab}" has no checks')
        raise NoChecks(text.format(lab=lab), hint=f"labctl status {lab}")
    found = read_results(place, [lab])[lab]
    if not any(check.id in found for check in topology.checks):
        text = _('the checks of the lab "{lab}" were never run')
        raise NeverChecked(text.format(lab=lab), hint=f"labctl check {lab}")
    subject = Subject(lab, lab.removeprefix(f"{topology.name}-"), made=read_ages(place).get(lab, ""))
    return make_sheet(subject, topology, found, language)


@dataclass(frozen=True)
class ClassSheets:
    """The sheets of a class in the order of its list, and the students who have no lab."""

    sheets: tuple[Sheet, ...]
    without: tuple[Subject, ...]


def find_class_sheets(place: Workplace, students: Sequence[Student], topology: str, language: str) -> ClassSheets:
    """Return the sheets of the labs of some students, those of one topology where it is named.

    Labs whose topology has no checks are left out. Raises LabctlError for a copy that cannot be read.
    """
    copies, known = Copies(place), place.known_labs()
    labs = [(student, lab) for student in students for lab in known if lab.endswith(f"-{student.slug}")]
    loaded = {lab: copies.load(lab) for _student, lab in labs}
    labs = [
        (student, lab) for student, lab in labs
        if lab == f"{loaded[lab].name}-{student.slug}" and loaded[lab].checks and topology in {"", loaded[lab].name}
    ]  # fmt: skip
    found, ages = read_results(place, [lab for _student, lab in labs]), read_ages(place)
    having = {student.slug for student, _lab in labs}
    return ClassSheets(
        sheets=tuple(
            make_sheet(
                Subject(lab, student.name, student.group, ages.get(lab, "")), loaded[lab], found[lab], language
            )
            for student, lab in labs
        ),
        without=tuple(Subject("", one.name, one.group) for one in students if one.slug not in having),
    )  # fmt: skip


@dataclass(frozen=True)
class Copies:
    """Reads the copies of topologies that labs keep; a class has the same one 24 times, and it is read once."""

    place: Workplace
    known: dict[bytes, Topology] = field(default_factory=dict)

    def load(self, lab: str) -> Topology:
        """Return the topology that a lab was made from."""
        try:
            content = self.place.folders(lab).topology.read_bytes()
        except OSError:
            return self.place.load_lab(lab)  # raises, and says why
        if read_own(self.place.folders(lab).top):  # it has values of its own
            return self.place.load_lab(lab)
        if content not in self.known:
            self.known[content] = self.place.load_lab(lab)
        return self.known[content]


def read_results(place: Workplace, labs: Sequence[str]) -> Mapping[str, Mapping[str, Found]]:
    """Return what is kept of the checks of each lab, by lab and check."""
    kept = place.store.kept_outcomes(labs)
    return {lab: {one.check: read_found(one.result, one.at, one.evidence) for one in kept.get(lab, ())} for lab in labs}


def read_ages(place: Workplace) -> Mapping[str, str]:
    """Return when each known lab was made or last reset."""
    return {lab: known.made for lab, known in place.store.labs().items()}
