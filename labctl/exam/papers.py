"""The papers of a session: exam and topology as they were at `prepare`, and each candidate's exam from them.

`variants.json` holds the values of each candidate, by owner: with the exam, that is the answer key. It is encrypted
by `seal` like the rest. `names.json` has the names of people by number; it is for documents of the jury alone.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.exam.candidates import Candidate, Candidates
from labctl.exam.load import Paper, PaperTemplate, read_paper
from labctl.exam.meaning import number_of
from labctl.exam.model import Phase
from labctl.exam.session import Session
from labctl.lab.keys import write_secret
from labctl.lab.lock import hold_lab
from labctl.lab.own_values import LOCK, PATIENCE, Own, Owned, ensure_secret
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.load import Template
from labctl.topology.variants import Value
from labctl.variants import Lot, fingerprint

EXAM, VARIANTS, NAMES = "exam.yml", "variants.json", "names.json"
OPEN_ALWAYS = frozenset({NAMES})  # what `seal` leaves alone


@dataclass(frozen=True)
class Source:
    """What a session is made from: the files, and what they say."""

    exam: Path
    roll: Path
    template: PaperTemplate
    scenario: Template
    paper: Paper
    candidates: Candidates

    @property
    def topology_file(self) -> Path:
        """Return the file of the topology."""
        return self.scenario.tree.source.path


def write_papers(session: Session, source: Source) -> None:
    """Keep the files of a session in its folder, the topology where the exam file names it."""
    named = Path(source.paper.exam.topology)
    if named.is_absolute() or ".." in named.parts:
        text = _('the topology "{path}" must lie in the folder of the exam file, or below it')
        raise Refused(text.format(path=named), hint=f"cp {source.topology_file} {source.exam.parent}")
    for origin, name in ((source.exam, EXAM), (source.topology_file, str(named))):
        target = session.papers / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(target, origin.read_bytes())
    write_secret(session.papers / NAMES, json.dumps(dict(source.candidates.names), ensure_ascii=False).encode())


def describe(source: Source, *, rehearsal: bool, minute: float) -> dict[str, JsonValue]:
    """Return the facts of a session, see `create_session`."""
    exam, topology = source.paper.exam, source.paper.topology
    files: dict[str, JsonValue] = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in (("exam", source.exam), ("topology", source.topology_file), ("candidates", source.roll))
    }
    listed: list[JsonValue] = [describe_candidate(one, topology.name) for one in source.candidates.listed]
    return {
        "exam": exam.name, "version": exam.version, "number": number_of(exam), "year": exam.session,
        "topology": topology.name, "title_en": exam.title.pick("en"), "title_fr": exam.title.pick("fr"),
        "rehearsal": rehearsal, "minute": minute, "grace": exam.grace, "retention": exam.retention,
        "internet": list(exam.internet), "reset": exam.reset.scope, "resets": exam.reset.most, "files": files,
        "candidates": listed,
    }  # fmt: skip


def describe_candidate(one: Candidate, topology: str) -> dict[str, JsonValue]:
    """Return what a session knows of a candidate. No name."""
    minutes: dict[str, JsonValue] = {str(phase): one.times[phase].total_seconds() / 60 for phase in Phase}
    return {
        "number": one.number, "owner": one.slug, "lab": f"{topology}-{one.slug}", "minutes": minutes,
        "factor": str(one.time_factor), "pauses": one.pauses, "language": one.language,
    }  # fmt: skip


def draw_values(place: Workplace, source: Source, session: Session, owners: Sequence[str]) -> dict[str, Owned]:
    """Return the lab of each owner with the values drawn for them, and keep all values in the session's papers.

    The variants of the exam and of its topology are drawn together, so that no two candidates have the same exam. Empty
    where nothing varies. Raises Refused where there are too few values.
    """
    joint = source.paper.topology
    if not joint.variants:
        write_secret(session.papers / VARIANTS, b"{}")
        return {}
    lot = Lot(joint, f"exam-{session.name}", ensure_secret(place.home))
    key = fingerprint(lot.secret)
    with hold_lab(place.home, LOCK, "draw", PATIENCE):
        drawn = lot.draw(owners, place.store.draws((joint.name, lot.edition, key, lot.session)))
        kept = {owner: one.positions for owner, one in drawn.items()}
        place.store.add_draws((joint.name, lot.edition, key, lot.session), kept)
    values = {owner: dict(one.values) for owner, one in drawn.items()}
    write_secret(session.papers / VARIANTS, json.dumps(values, ensure_ascii=False, indent=1).encode())
    base = source.scenario.resolve(place.catalogue)
    if not base.variants:
        return {}
    alone = Lot(base, lot.session, lot.secret)  # a lab knows nothing of what varies in the demand
    owned = {}
    for owner, one in drawn.items():
        positions = {name: spot for name, spot in one.positions.items() if name in base.variants}
        own = Own(base.name, owner, lot.session, alone.edition, key, positions)
        mine = alone.values_at(owner, positions)
        owned[owner] = Owned(source.scenario.read(place.catalogue, mine), own, mine)
    return owned


def load_papers(session: Session, catalogue: Catalogue, shipped: Path) -> Mapping[str, Paper]:
    """Return the exam of each candidate with their own values, by number. Raises Refused while it is sealed."""
    template, values = open_papers(session, shipped)
    standing = session.read()
    return {
        number: template.resolve(catalogue, values[one.owner]) if one.owner in values else template.resolve(catalogue)
        for number, one in standing.candidates.items()
    }


def open_papers(session: Session, shipped: Path) -> tuple[PaperTemplate, Mapping[str, Mapping[str, Value]]]:
    """Return the exam before its variants have values, and the values of each owner. Raises Refused while sealed."""
    path = session.papers / EXAM
    if not path.exists():
        text = _('the papers of the session "{name}" are sealed')
        raise Refused(text.format(name=session.name), hint=f"labctl exam open {session.name}")
    try:
        values = json.loads((session.papers / VARIANTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        values = {}
    except ValueError as exc:
        text = _('"{path}" cannot be read: {error}').format(path=session.papers / VARIANTS, error=exc)
        raise LabctlError(text, hint=f"labctl exam prepare {path} --session {session.name}") from exc
    return read_paper(path, shipped), values
