"""Rebuilds what the database and the home folder lost, from libvirt's word, and clears what crashes left behind.

Only what is proven to be ours and of no use is removed; the rest is named. Each lab is worked on under its lock.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from labctl.database import Damaged
from labctl.errors import Busy, LabctlError
from labctl.images.folder import hold
from labctl.images.store import BUILD_LOCK
from labctl.lab.down import owns
from labctl.lab.leftovers import dead_deliveries, foreign_objects, golden_rests, lab_rests, unfinished_checkpoints
from labctl.lab.lock import hold_lab, is_held
from labctl.lab.seats import left_seats, link_seat
from labctl.lab.workplace import LAB_NAME, Workplace
from labctl.language import _
from labctl.plan.observed import DomainState, Observed, SeenDomain, SeenNetwork
from labctl.topology.load import load_topology
from labctl.topology.model import Topology


class Deed(StrEnum):
    """What became of a finding."""

    MENDED = "mended"
    FOUND = "found"  # by a dry run: it would be mended
    LEFT = "left"  # it is not ours, or of use, or nobody can mend it
    BUSY = "busy"  # a run works on it


@dataclass(frozen=True)
class Finding:
    """One thing that was found. `kind` is a stable English word, `subject` a lab, a path or a libvirt name."""

    kind: str
    subject: str
    deed: Deed
    text: str


@dataclass(frozen=True)
class Repair:
    """A repair of one installation. `shipped` is the folder of labctl's own topologies; a `dry` one changes nothing."""

    place: Workplace
    shipped: Path
    dry: bool = False

    def run(self) -> Iterator[Finding]:
        """Yield what is found as it is mended; nothing for an installation that is whole.

        Raises HostNotReady, after what needs no libvirt was done, where libvirt cannot be reached.
        """
        yield from self.mend_database()
        yield from self.close_jobs()
        yield from self.mend_golden()
        yield from self.mend_workbenches(self.place.see())
        yield from self.mend_seats(self.place.see())
        seen = self.place.see()
        labs = self.all_labs(seen)
        for lab in labs:
            yield from self.alone(lab, partial(self.mend_lab, lab))
        for lab in sorted(self.known_names() - set(labs)):
            yield from self.alone(lab, partial(self.forget, lab))
        for name in foreign_objects(seen, self.place.prefix, self.all_seats(seen, labs), self.place.home):
            text = _('"{name}" has a name or a disk of a lab and was not made by this installation: left untouched')
            yield Finding("foreign", name, Deed.LEFT, text.format(name=name))

    def mend(self, kind: str, subject: str, text: str, act: Callable[[], object]) -> Finding:
        """Do an act unless this is a dry run."""
        if self.dry:
            return Finding(kind, subject, Deed.FOUND, text)
        act()
        return Finding(kind, subject, Deed.MENDED, text)

    def alone(self, lab: str, act: Callable[[], Iterator[Finding]], lock: str = "") -> Iterator[Finding]:
        """Do an act while nobody else works on the lab; a dry run takes no lock, as it would write its name there."""
        if self.dry:
            if is_held(self.place.home, lock or lab):
                yield Finding("busy", lab, Deed.BUSY, _("a run works on {lab}: skipped").format(lab=lab))
            else:
                yield from act()
            return
        try:
            with hold_lab(self.place.home, lock or lab, "repair"):
                yield from act()
        except Busy as exc:
            yield Finding("busy", lab, Deed.BUSY, exc.message)

    def mend_database(self) -> Iterator[Finding]:
        """Set a damaged database aside; the next transaction makes a new one."""
        store = self.place.store
        if damage := store.find_damage():
            text = _('the database "{path}" is damaged ({error}); it is set aside and a new one is made')
            text = text.format(path=store.path, error=damage)
            yield self.mend("database", str(store.path), text, lambda: (store.set_aside(), store.labs()))
        for path in sorted(store.path.parent.glob(f".{store.path.stem}.schema-*.tmp")):
            yield self.remove("leftover", path)

    def all_labs(self, seen: Observed) -> list[str]:
        """Return every lab that libvirt or the home folder knows, sorted."""
        objects: tuple[SeenDomain | SeenNetwork, ...] = (*seen.domains, *seen.networks)
        tags = [one.tag for one in objects if one.tag and self.names_seat(one.name, one.tag.seat_name)]
        seats = self.place.read_seats()
        top = self.place.home / "labs"
        folders = [path.name for path in top.iterdir() if path.is_dir() and LAB_NAME.fullmatch(path.name)]
        found = {lab for tag in tags if LAB_NAME.fullmatch(lab := seats.lab_of(tag))}
        return sorted(found | set(folders))

    def all_seats(self, seen: Observed, labs: Collection[str]) -> set[str]:
        """Return the names that libvirt's names of all labs begin with."""
        return {*labs, *self.place.read_seats().by_seat, *(tag.seat_name for tag in seen.tags)}

    def names_seat(self, name: str, seat: str) -> bool:
        """Return whether a libvirt name is one that this installation gives to an object of the seat."""
        return LAB_NAME.fullmatch(seat) is not None and name.startswith(f"{self.place.prefix}{seat}.")

    def mend_seats(self, seen: Observed) -> Iterator[Finding]:
        """Link labs to their seats again where the link was lost; tell what a run has not ended."""
        top = self.place.home / "labs"
        tags = [one.tag for one in seen.domains if one.tag and self.names_seat(one.name, one.tag.seat_name)]
        lost = {tag.seat_name: tag.lab for tag in tags if tag.seat}
        lost |= {seat: lab for seat, lab in left_seats(self.place) if lab and seat not in lost}
        taken = self.place.read_seats().by_seat
        for seat, lab in sorted(lost.items()):
            if seat in taken or not LAB_NAME.fullmatch(lab):
                continue
            if (top / lab).exists() or (top / lab).is_symlink():
                text = _('"{seat}" is what {lab} was before; the next `labctl up` or `labctl down` removes it')
                yield Finding("seat", seat, Deed.LEFT, text.format(seat=seat, lab=lab))
            else:
                yield from self.alone(lab, partial(self.mend_link, lab, seat))

    def mend_link(self, lab: str, seat: str) -> Iterator[Finding]:
        """Give a lab the seat that its machines' tags, or its folder, name."""
        text = _('the folder of {lab} was lost; its seat is "{seat}"').format(lab=lab, seat=seat)
        yield self.mend("seat", lab, text, partial(link_seat, self.place, lab, seat))

    def known_names(self) -> frozenset[str]:
        """Return the labs of the database; none of one that a dry run has left damaged."""
        try:
            return self.place.store.known_names()
        except Damaged:
            return frozenset()

    def mend_lab(self, lab: str) -> Iterator[Finding]:
        """Mend one lab; the host is looked at again, now that nobody else works on it."""
        seen = self.place.see()
        seat = self.place.seat_of(lab)
        domains = [one for one in seen.domains if owns(one.name, one.tag, seat, self.place.prefix)]
        networks = [one for one in seen.networks if owns(one.name, one.tag, seat, self.place.prefix)]
        folders = self.place.folders(lab)
        if not domains and not networks and not folders.topology.exists():
            yield from self.mend_remains(lab, folders.top)
            return
        for path in lab_rests(folders.top, seen):
            yield self.remove("leftover", path)
        for path in unfinished_checkpoints(folders.top):
            text = _('"{path}" is an interrupted checkpoint; the next `labctl checkpoint save {lab} NAME` mends it')
            yield Finding("checkpoint", str(path), Deed.LEFT, text.format(path=path, lab=lab))
        yield from self.mend_topology(lab, domains)
        yield from self.mend_row(lab, domains)
        yield from self.mend_intents(lab, domains)

    def mend_remains(self, lab: str, top: Path) -> Iterator[Finding]:
        """Remove the folder of no lab where it holds no file; one that does may hold somebody's work."""
        if not top.exists():
            return
        if any(path.is_file() or path.is_symlink() for path in top.rglob("*")):
            text = _('"{path}" holds files and no lab; `labctl down {lab}` removes it')
            yield Finding("remains", str(top), Deed.LEFT, text.format(path=top, lab=lab))
            return
        text = _('the folder "{path}" is of no lab and empty').format(path=top)
        yield self.mend("remains", str(top), text, lambda: shutil.rmtree(top))

    def mend_topology(self, lab: str, domains: Collection[SeenDomain]) -> Iterator[Finding]:
        """Copy a lost or broken topology back, from where the same machines would be made."""
        path = self.place.folders(lab).topology
        if self.read(path) is not None:
            return
        source = self.find_topology(lab, domains)
        if source is None:
            text = _('the topology of {lab} is lost, and no known one makes its machines: put its file at "{path}"')
            yield Finding("topology", lab, Deed.LEFT, text.format(lab=lab, path=path))
            return
        text = _('the topology of {lab} was lost or broken; "{source}" makes the same machines and is copied')
        yield self.mend("topology", lab, text.format(lab=lab, source=source), lambda: put_copy(source, path))

    def find_topology(self, lab: str, domains: Collection[SeenDomain]) -> Path | None:
        """Return a file that would make every machine of the lab of the same, and best configure it alike."""
        home, tags = self.place.home, [domain.tag for domain in domains if domain.tag]
        candidates = [
            *sorted(home.glob("golden/*/topology.yml")),
            *sorted(home.glob("labs/*/topology.yml")),
            *sorted(self.shipped.glob("*.yml")),
        ]
        alike: list[tuple[int, Path]] = []
        for path in candidates if tags else ():
            topology = self.read(path)
            if topology is None or any(topology.name != tag.topology for tag in tags):
                continue
            planned = {node.member: node.tag for node in self.place.layout(lab, topology).nodes}
            if all(tag.member in planned and planned[tag.member].spec == tag.spec for tag in tags):
                alike.append((sum(planned[tag.member].configured != tag.configured for tag in tags), path))
        return min(alike, key=lambda one: one[0])[1] if alike else None

    def read(self, path: Path) -> Topology | None:
        """Return the topology of a file, None where there is none or it is broken."""
        try:
            return load_topology(path, self.place.catalogue) if path.is_file() else None
        except LabctlError:
            return None

    def mend_row(self, lab: str, domains: Collection[SeenDomain]) -> Iterator[Finding]:
        """Give the lab its row: made when its identities were written, up since this boot where a machine runs."""
        try:
            if lab in self.place.store.labs():
                return
        except Damaged:  # left by a dry run: a new database knows no lab
            pass
        boot = self.place.boot_id if any(one.state is DomainState.RUNNING for one in domains) else ""
        written = [path.stat().st_mtime for path in self.place.folders(lab).identity("x").parent.glob("[!.]*")]
        made = datetime.fromtimestamp(max(written), UTC).isoformat(timespec="seconds") if written else ""
        text = _("the lab {lab} is known again").format(lab=lab)
        yield self.mend("lab", lab, text, lambda: self.place.store.note_boot(lab, boot, made=made))

    def mend_intents(self, lab: str, domains: Collection[SeenDomain]) -> Iterator[Finding]:
        """Forget interrupted work on a lab that is whole; tell how the others are finished."""
        try:
            intents = self.place.store.open_intents(lab)
        except Damaged:
            return
        if not intents:
            return
        acts = ", ".join(f"{act} {target}" for act, target in intents)
        if self.is_whole(lab, domains):
            text = _("interrupted work on {lab} ({acts}) was finished since").format(lab=lab, acts=acts)
            yield self.mend("intent", lab, text, lambda: self.place.store.close_intents(lab))
        else:
            text = _("work on {lab} was interrupted ({acts}); the next `labctl up` or `labctl down` finishes it")
            yield Finding("intent", lab, Deed.LEFT, text.format(lab=lab, acts=acts))

    def is_whole(self, lab: str, domains: Collection[SeenDomain]) -> bool:
        """Return whether nothing would be done to bring the lab up."""
        try:
            topology = self.place.load_lab(lab)
        except LabctlError:
            return False
        golden = max((one.tag.golden for one in domains if one.tag), default="")
        try:
            return not self.place.plan(topology, lab.removeprefix(f"{topology.name}-"), golden).actions
        except LabctlError:
            return False

    def mend_golden(self) -> Iterator[Finding]:
        """Clear what interrupted builds and deliveries of golden labs left."""
        for path in dead_deliveries(self.place.home):
            yield self.remove("leftover", path)
        for name in golden_rests(self.place.home):
            yield from self.alone(name, partial(self.mend_golden_rest, name), lock=f"golden-{name}")

    def mend_golden_rest(self, name: str) -> Iterator[Finding]:
        """Remove the folder of a golden lab that was never finished, unless a disk stands on it."""
        rests = golden_rests(self.place.home)
        path = self.place.home / "golden" / name
        if users := rests.get(name):
            text = _('"{path}" has lost its manifest; disks stand on it, such as "{disk}": left untouched')
            yield Finding("golden", str(path), Deed.LEFT, text.format(path=path, disk=users[0]))
        elif name in rests:
            text = _('"{path}" is the rest of an interrupted golden lab').format(path=path)
            yield self.mend("golden", str(path), text, partial(shutil.rmtree, path, ignore_errors=True))

    def mend_workbenches(self, seen: Observed) -> Iterator[Finding]:
        """Remove the machines in which images were being made when that was killed."""

        def busy() -> None:
            raise Busy(_("images are being made: their machines stay"))

        left = [(one.name, one.tag.seat_name) for one in seen.workbenches if one.tag]
        if not left:
            return
        try:
            with hold(self.place.home / "images" / BUILD_LOCK, busy):
                for name, seat in left:
                    text = _('"{name}" is the machine of an interrupted image build').format(name=name)
                    remove = partial(self.place.machines.remove_domain, name, seat)
                    yield self.mend("workbench", name, text, remove)
        except Busy as exc:
            yield from (Finding("busy", name, Deed.BUSY, exc.message) for name, _seat in left)

    def close_jobs(self) -> Iterator[Finding]:
        """End the jobs whose process has died."""
        try:
            dead = self.place.store.list_jobs(dead=True)
        except Damaged:
            return
        for job in dead:
            text = _("the job {id} ({verb} {lab}) has lost its process {pid}")
            text = text.format(id=job.id, verb=job.verb, lab=job.lab, pid=job.pid)
            yield self.mend("job", str(job.id), text, self.place.store.close_dead_jobs)

    def forget(self, lab: str) -> Iterator[Finding]:
        """Drop what is kept of a lab that nobody knows any more, if a run has not just made it."""
        if lab not in self.all_labs(self.place.see()):
            text = _("the lab {lab} no longer exists; its results are forgotten").format(lab=lab)
            yield self.mend("forgotten", lab, text, lambda: self.place.store.forget(lab))

    def remove(self, kind: str, path: Path) -> Finding:
        """Remove a file that a crash left."""
        text = _('"{path}" was left by a crash').format(path=path)
        return self.mend(kind, str(path), text, lambda: path.unlink(missing_ok=True))


def put_copy(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all; what had its name is kept beside it."""
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.copyfile(source, temporary)
    if target.exists():
        target.replace(target.with_name(f"{target.name}.broken"))
    temporary.replace(target)
