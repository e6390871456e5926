"""Removes one lab: exactly the machines and networks that carry its tag, then its folder."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.crew import Crew
from labctl.errors import Refused
from labctl.lab.barring import unbar
from labctl.lab.files import explain_files
from labctl.lab.lock import hold_lab, who
from labctl.lab.seats import LAB, seat_folder, seats_left_by
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import ActionKind
from labctl.plan.observed import Observed, Tag

WORKERS = 4


@dataclass(frozen=True)
class Removal:
    """What belongs to a lab in one seat: libvirt names of machines and networks, and whether it has a folder."""

    lab: str
    seat: str
    domains: tuple[str, ...]
    networks: tuple[str, ...]
    folder: bool

    @property
    def empty(self) -> bool:
        """Return whether nothing of the lab exists."""
        return not (self.domains or self.networks or self.folder)


def find_parts(lab: str, seat: str, observed: Observed, prefix: str) -> Removal:
    """Return what carries the tag of a lab's seat. Works without the topology: it may be lost."""
    domains = [seen.name for seen in observed.domains if owns(seen.name, seen.tag, seat, prefix)]
    networks = [seen.name for seen in observed.networks if owns(seen.name, seen.tag, seat, prefix)]
    return Removal(lab, seat, tuple(domains), tuple(networks), folder=False)


def refuse_foreign_users(observed: Observed, top: Path) -> None:
    """Raise Refused where a machine that is not ours has its disk in the lab's folder: it would lose it."""
    for seen in observed.domains:
        if seen.tag is None and any(top in Path(disk).parents for disk in seen.disks):
            text = _('the machine "{name}" was not made by this installation and has its disk in "{path}"')
            raise Refused(text.format(name=seen.name, path=top), hint=f"virsh dominfo {seen.name}")


def owns(name: str, tag: Tag | None, seat: str, prefix: str) -> bool:
    """Return whether an object is of the seat: the tag says so and the name starts as this installation's do."""
    return tag is not None and tag.seat_name == seat and name.startswith(f"{prefix}{seat}.")


def take_down(place: Workplace, lab: str, monitor: Monitor) -> Removal:
    """Remove a lab; what is already gone is what was wanted. Return what was removed."""
    with explain_files(place.folders(lab).top), hold_lab(place.home, lab, "down"):
        observed, left = place.see(), seats_left_by(place, lab)
        tops = [place.folders(lab).top, *(seat_folder(place, seat) for seat in left)]
        for top in tops:
            refuse_foreign_users(observed, top)
        parts = [find_parts(lab, seat, observed, place.prefix) for seat in find_seats(place, lab, left, observed)]
        removal = join(lab, parts, any(top.exists() for top in tops))
        unbar(place.home, lab)  # another lab of this name is none of an exam
        if removal.empty:
            (place.home / "labs" / lab).unlink(missing_ok=True)  # at most a link to nothing
            return removal
        place.store.add_event(lab, who(), "down")
        for part in parts:
            remove_objects(place, part, monitor)
        for top in reversed(tops):
            remove_folder(place, lab, top)
        place.store.forget(lab)
        place.store.add_event(lab, who(), "down ended")
        return removal


def find_seats(place: Workplace, lab: str, left: Sequence[str], observed: Observed) -> list[str]:
    """Return the seats that are a lab's: the one that it has, those that it left, and those that only tags know."""
    seats = place.read_seats()
    own = [place.seat_of(lab)] if seats.by_seat.get(place.seat_of(lab), lab) == lab else []  # else it was given away
    lost = [tag.seat_name for tag in observed.tags if tag.lab == lab and tag.seat_name not in seats.by_seat]
    return list(dict.fromkeys([*own, *left, *lost]))


def join(lab: str, parts: Sequence[Removal], folder: bool) -> Removal:
    """Return what belongs to a lab in all its seats."""
    domains = tuple(name for part in parts for name in part.domains)
    networks = tuple(name for part in parts for name in part.networks)
    return Removal(lab, "", domains, networks, folder)


def remove_folder(place: Workplace, lab: str, top: Path) -> None:
    """Remove a folder of a lab; the topology's copy goes last: after a crash the lab is still known by its name."""
    if not top.exists():
        return
    for child in top.iterdir():
        if child.name not in {"topology.yml", LAB}:
            remove_tree(child)
    link = place.home / "labs" / lab
    if link.is_symlink() and link.resolve() == top.resolve():
        link.unlink()
    shutil.rmtree(top)


def remove_objects(place: Workplace, part: Removal, monitor: Monitor) -> None:
    """Remove the machines of a lab's seat side by side, as QEMU takes its time to end, then its networks."""

    def remove(name: str) -> None:
        with place.store.intent(part.lab, ActionKind.REMOVE_DOMAIN, name):
            place.machines.remove_domain(name, part.seat)
        monitor.tell(Event(name, "remove", Progress.DONE, _("machine")))

    with Crew(max_workers=WORKERS) as workers:
        for done in [workers.submit(remove, name) for name in part.domains]:
            done.result()
    for name in part.networks:
        with place.store.intent(part.lab, ActionKind.REMOVE_NETWORK, name):
            place.machines.remove_network(name, part.seat)
        monitor.tell(Event(name, "remove", Progress.DONE, _("network")))


def remove_tree(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
