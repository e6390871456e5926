"""The folder of a session to what its documents are made from: papers, drawn values, results, checksums, names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from labctl.errors import LabctlError
from labctl.exam.audit import Act
from labctl.exam.documents.making import Own
from labctl.exam.documents.person import Names
from labctl.exam.documents.proctor import Checksums
from labctl.exam.documents.recette import Proof
from labctl.exam.load import PaperTemplate
from labctl.exam.papers import NAMES, open_papers
from labctl.exam.recette import Moment, load_results, results_file
from labctl.exam.session import Session
from labctl.exam.standing import CandidateStanding, Standing
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Topology
from labctl.topology.variants import Value


@dataclass(frozen=True)
class FolderMaterial:
    """What is in the folder of a session; `shipped` is the folder of shipped topologies."""

    session: Session
    catalogue: Catalogue
    shipped: Path
    known: dict[str, Own] = field(default_factory=dict, repr=False)

    @cached_property
    def papers(self) -> tuple[PaperTemplate, Mapping[str, Mapping[str, Value]]]:
        """Return the exam and the values of each owner. Raises Refused while they are sealed."""
        return open_papers(self.session, self.shipped)

    def own(self, candidate: CandidateStanding) -> Own:
        """Return the exam of a candidate, read once. Raises Refused while it is sealed."""
        if candidate.number not in self.known:
            template, values = self.papers
            mine = values.get(candidate.owner)
            self.known[candidate.number] = Own(template.resolve(self.catalogue, mine), mine or {})
        return self.known[candidate.number]

    def topology(self) -> Topology:
        """Return the topology of the session, with the defaults of its variants."""
        return self.papers[0].resolve(self.catalogue).topology

    def proof(self, candidate: CandidateStanding) -> Proof:
        """Return what the acceptance test found, before the work and after it. Raises LabctlError before the test."""
        found = load_results(results_file(self.session.folder, candidate.owner, Moment.END))
        if not found:
            text = _("the acceptance test of the candidate {number} was not made yet").format(number=candidate.number)
            hint = f"labctl exam recette {self.session.name} --candidate {candidate.number}"
            raise LabctlError(text, hint=hint)
        start = load_results(results_file(self.session.folder, candidate.owner, Moment.START))
        standing, collected = self.session.read(), candidate.last.get(Act.COLLECT)
        return Proof(
            found=found,
            start={check: one.status for check, one in start.items()},
            manifest=str(collected.facts.get("manifest", "")) if collected else "",
            head=standing.head,
            seq=standing.seq,
        )

    def checksums(self, standing: Standing) -> Checksums:
        """Return what the proctor compares: what the log says of the seal, and how far the log goes."""
        seal = standing.last.get(Act.SEAL)
        told = seal.facts if seal else {}
        return Checksums(str(told.get("checksum", "")), str(told.get("key", "")), standing.head, standing.seq)


def read_names(session: Session) -> Names:
    """Return the names of candidates, none where there is no list of them."""
    try:
        return Names(json.loads((session.papers / NAMES).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Names()
    except ValueError as exc:
        path = session.papers / NAMES
        text = _('"{path}" cannot be read: {error}').format(path=path, error=exc)
        raise LabctlError(text, hint=f"ls -l {path}") from exc
