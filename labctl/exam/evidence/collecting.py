"""The candidates of a session to their evidence, one after the other, each act in the log; and to a second copy."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act, Step, utc_text
from labctl.exam.conduct import Became, Conduct, Result, Results, hold_candidate, select
from labctl.exam.evidence.collect import Collector, summary
from labctl.exam.evidence.manifest import Manifest
from labctl.exam.evidence.material import Material, Recorder
from labctl.exam.evidence.sources import find_freeze, find_material, has_results
from labctl.exam.evidence.store import Partial, copy_evidence, read_whole
from labctl.exam.evidence.verify import EVIDENCE, LOG, SEALED
from labctl.exam.proofs import LabProofs
from labctl.exam.standing import CandidateStanding
from labctl.images.copying import copy_disk
from labctl.lab.files import explain_files
from labctl.lab.keeping import free_bytes
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Monitor


@dataclass(frozen=True)
class Collecting:
    """Collects the evidence of candidates of one session on this host."""

    place: Workplace
    conduct: Conduct
    proofs: LabProofs
    recorder: Recorder
    monitor: Monitor
    room: Callable[[Path], int] = free_bytes
    copy: Callable[[Path, Path], None] = copy_disk

    def recettes(self, numbers: Sequence[str]) -> Results:
        """Run the acceptance test of candidates; who is not frozen is refused."""
        results: dict[str, Result] = {}
        for one in select(self.conduct.session.read(), numbers):
            try:
                find_freeze(one)
                with hold_candidate(self.conduct.session, one.number, self.conduct.patience):
                    facts = self.proofs.recette(one.number, self.conduct.labs)
                results[one.number] = Result(Became.DONE, told_results(facts), facts)
            except Refused as exc:
                results[one.number] = Result(Became.REFUSED, exc.message)
            except LabctlError as exc:
                results[one.number] = Result(Became.FAILED, exc.message)
        return results

    def collect(self, numbers: Sequence[str], second: Path | None, *, recette: bool) -> Results:
        """Collect the evidence of candidates, or of all, and copy it where `second` is given.

        Without numbers, who never worked is left out. Raises Refused before anything is written where a disk is too
        small or something is in the way, Partial where it becomes full in between.
        """
        session = self.conduct.session
        standing = session.read()
        asked = [one for one in select(standing, numbers) if numbers or one.practical]
        if not asked:
            raise Refused(_("nobody has worked yet: there is nothing to collect"), hint="labctl exam status")
        results: dict[str, Result] = {}
        ready: list[tuple[CandidateStanding, Material]] = []
        for one in asked:
            try:
                ready.append((one, self.material(one)))
            except Refused as exc:
                results[one.number] = Result(Became.REFUSED, exc.message)
        copies = second / session.name if second else None
        collector = Collector(session.folder, self.recorder, self.monitor, self.room, self.copy)
        collector.refuse_full([material for _one, material in ready], copies / EVIDENCE if copies else None)
        for one, material in ready:
            results[one.number] = self.collect_one(collector, one, material, copies, recette=recette)
        if copies:
            self.copy_session(copies)
        return {one.number: results[one.number] for one in asked}

    def material(self, one: CandidateStanding) -> Material:
        """Return what there is of a candidate's work."""
        papers = self.proofs.papers
        return find_material(self.place, self.conduct.session, one, papers.paper(one.number), papers.drawn())

    def collect_one(
        self, collector: Collector, one: CandidateStanding, material: Material, copies: Path | None, *, recette: bool
    ) -> Result:
        """Collect and copy the evidence of one candidate; a failure of one holds back no other, a full disk does."""
        try:
            with hold_candidate(self.conduct.session, one.number, self.conduct.patience):
                result = self.gather(collector, one, material, recette=recette)
                if copies:
                    self.copy_one(collector.place(material), copies / EVIDENCE / material.folder, one.number)
        except Partial:
            raise
        except Refused as exc:
            return Result(Became.REFUSED, exc.message)
        except LabctlError as exc:
            return Result(Became.FAILED, exc.message)
        return result

    def gather(self, collector: Collector, one: CandidateStanding, material: Material, *, recette: bool) -> Result:
        """Collect the evidence of one candidate where it is not there yet."""
        session, folder = self.conduct.session, collector.place(material)
        whole, now = read_whole(folder, one.number), session.read().candidate(one.number)
        if whole and Act.COLLECT not in now.unfinished and Act.COLLECT in now.last:
            return Result(Became.ALREADY)
        if not whole and recette and not has_results(now):
            with suppress(LabctlError):  # the log says why not, and the manifest that there is none
                self.proofs.recette(one.number, self.conduct.labs)
            material = self.material(session.read().candidate(one.number))
        with session.doing(Act.COLLECT, one.number, copy=material.copy) as told:
            collector.collect(material, lambda: self.manifest(one, material))
            collected = read_whole(folder, one.number)
            if collected is None:
                text = _('the evidence in "{path}" cannot be read back').format(path=folder)
                raise LabctlError(text, hint=f"labctl exam verify {folder}")
            told.update(summary(folder, collected))
        missing = told["missing"]
        reason = _("{count} parts could not be had, see its manifest").format(count=missing) if missing else ""
        return Result(Became.DONE, reason, told)

    def manifest(self, one: CandidateStanding, material: Material) -> Manifest:
        """Return the manifest before its files, with how far the log has come."""
        standing = self.conduct.session.read()
        versions = self.place.freezer.versions()
        facts: dict[str, JsonValue] = {
            "exam": standing.text("exam"), "version": standing.text("version"), "year": standing.about.get("year"),
            "lab": one.lab, "frozen_copy": material.copy, "golden": material.golden,
            "libvirt": versions.libvirt, "hypervisor": versions.hypervisor,
        }  # fmt: skip
        hour = utc_text(self.conduct.session.clock.read().hour.astimezone(UTC))
        return Manifest(
            self.conduct.session.name, one.number, hour, standing.rehearsal, standing.seq, standing.head, {}, facts
        )

    def copy_one(self, folder: Path, final: Path, number: str) -> None:
        """Copy complete evidence, and write down where."""
        with explain_files(final.parent):
            made = copy_evidence(folder, final, number, self.copy)
        if made:
            self.conduct.session.note(Act.COPY, number, folder=str(final))

    def copy_session(self, copies: Path) -> None:
        """Copy what a copy is verified with beside the evidence: the log as it is now, and the seal."""
        session = self.conduct.session
        with explain_files(copies), session.writing() as log:
            copies.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = copies / f".{LOG}.new"
            shutil.copyfile(session.audit, fresh)
            fresh.replace(copies / LOG)
            log.add(Act.COPY, Step.NOTED, "", folder=str(copies))
            for path in session.sealed.glob("*") if session.sealed.is_dir() else ():
                (copies / SEALED).mkdir(mode=0o700, exist_ok=True)
                shutil.copyfile(path, copies / SEALED / path.name)


def told_results(facts: Mapping[str, JsonValue]) -> str:
    """Return in a few words what a recette found."""
    text = _("{passed} passed, {failed} failed, {unknown} could not be checked")
    return text.format(passed=facts.get("passed"), failed=facts.get("failed"), unknown=facts.get("unknown"))
