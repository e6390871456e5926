"""Keeps ready labs that nobody has seen, and gives one to an owner who has no lab, or whose whole lab is reset."""

import re
import shutil
from contextlib import suppress

from labctl.errors import Busy, LabctlError
from labctl.lab.down import find_parts, refuse_foreign_users, remove_objects
from labctl.lab.keys import write_secret
from labctl.lab.lock import hold_lab, who
from labctl.lab.own_values import write_own
from labctl.lab.seats import come_back, move_in, seat_folder, seats_left_by
from labctl.lab.site import Site
from labctl.lab.wish import Wish
from labctl.lab.workplace import Workplace
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import Plan
from labctl.plan.names import SPARE, is_spare
from labctl.plan.observed import Observed

FOLDER = "standby"  # a file for each topology: how many spares to keep
CHECKPOINTS = "checkpoints"
TAKE = "take spare"


def find_spares(site: Site, topology: str) -> tuple[str, ...]:
    """Return the spares of a topology by number: those in seats, which alone can be given away."""
    pattern = re.compile(re.escape(f"{topology}-{SPARE}") + r"(\d{1,4})")
    found = {lab: match for lab in site.read_seats().by_lab if (match := pattern.fullmatch(lab))}
    return tuple(sorted(found, key=lambda lab: int(found[lab][1])))


def kept_spares(site: Site, topology: str) -> int:
    """Return how many spares of a topology are to be kept."""
    try:
        return int((site.home / FOLDER / topology).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def keep_spares(site: Site, topology: str, count: int) -> None:
    """Remember how many spares of a topology are to be kept, until another number is given."""
    folder = site.home / FOLDER
    if count:
        folder.mkdir(mode=0o700, exist_ok=True)
        write_secret(folder / topology, str(count).encode())
    else:
        (folder / topology).unlink(missing_ok=True)


def spare_owners(site: Site, topology: str, count: int, seen: Observed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the owners of `count` spares, those that exist first, and the spares (labs) that are too many."""
    here = find_spares(site, topology)
    owners = [lab.removeprefix(f"{topology}-") for lab in here[:count]]
    taken = {path.name for pattern in ("*", ".seats/*") for path in (site.home / "labs").glob(pattern)}
    taken |= {tag.seat_name for tag in seen.tags}
    number = 1
    while len(owners) < count:
        owner = f"{SPARE}{number}"
        if f"{topology}-{owner}" not in taken:
            owners.append(owner)
        number += 1
    return tuple(owners), here[count:]


def settle(place: Workplace, wish: Wish, monitor: Monitor) -> None:
    """Bring what a crash left of an earlier take to its end. The lab's lock is held."""
    come_back(place, wish.lab)
    mark_machines(place, wish)
    clear_left(place, wish.lab, monitor)


def mark_machines(place: Workplace, wish: Wish) -> None:
    """Write into the tags of the machines in a lab's seat whose they are now: `repair` reads it."""
    seat = place.linked_seat(wish.lab)
    if not seat:
        return
    domains = place.see().domains
    strange = [one.name for one in domains if one.tag and one.tag.seat_name == seat and one.tag.lab != wish.lab]
    if strange:
        place.store.forget(seat)  # the spare is no more; before the marks, so that a crash leaves this to be seen
    for name in strange:
        place.freezer.hand_domain(name, seat, wish.lab, wish.owner)


def clear_left(place: Workplace, lab: str, monitor: Monitor) -> None:
    """Remove what a lab was before it took a spare; its checkpoints move with it. The lab's lock is held."""
    for seat in seats_left_by(place, lab):
        seen, folder = place.see(), seat_folder(place, seat)
        try:
            refuse_foreign_users(seen, folder)
        except LabctlError as exc:
            monitor.tell(Event(seat, "remove", Progress.FAILED, exc.message))
            continue
        remove_objects(place, find_parts(lab, seat, seen, place.prefix), monitor)
        target = place.folders(lab).top / CHECKPOINTS
        if (folder / CHECKPOINTS).is_dir() and not target.exists():
            (folder / CHECKPOINTS).rename(target)
        shutil.rmtree(folder)


def take_spare(place: Workplace, wish: Wish) -> str:
    """Make a ready spare the lab that is wished for and return the spare's name, "" where there is none to take.

    A spare is for an owner without a lab, and for a lab that is made anew as a whole. The lab's lock is held.
    """
    if wish.golden is None or is_spare(wish.owner) or not find_spares(place, wish.topology.name):
        return ""
    seen = place.see()
    if wish.reset:
        wanted = set(wish.reset) >= set(wish.topology.nodes)
    else:
        wanted = not place.folders(wish.lab).topology.exists() and not machines_of(wish.lab, seen)
    if not wanted:
        return ""
    for spare in find_spares(place, wish.topology.name):
        with suppress(Busy, FileNotFoundError), hold_lab(place.home, spare, "take"):
            if is_whole(place, wish, spare) and give(place, wish, spare, seen):
                mark_machines(place, wish)
                return spare
    return ""


def machines_of(lab: str, seen: Observed) -> list[str]:
    """Return the machines that are marked as a lab's."""
    return [one.name for one in seen.domains if one.tag and one.tag.lab == lab]


def is_whole(place: Workplace, wish: Wish, spare: str) -> bool:
    """Return whether a spare is just what would be cloned now, and nothing is to be done on it."""
    if not place.linked_seat(spare) or wish.golden is None:  # somebody was faster
        return False
    seen = place.see()
    try:
        plan = place.plan(wish.base or wish.topology, owner_of(wish, spare), wish.golden.id, seen=seen)
    except LabctlError:
        return False
    return not plan.actions and not is_stale(plan, seen)


def owner_of(wish: Wish, lab: str) -> str:
    """Return the owner in a lab's name."""
    return lab.removeprefix(f"{wish.topology.name}-")


def is_stale(plan: Plan, seen: Observed) -> bool:
    """Return whether machines of a spare come from another golden lab than they would now."""
    names = {node.name for node in plan.nodes}
    return any(one.tag and one.name in names and one.tag.golden != plan.golden for one in seen.domains)


def give(place: Workplace, wish: Wish, spare: str, seen: Observed) -> bool:
    """Make a spare the lab that is wished for; False where a foreign machine has a disk in the folder that would go."""
    lab = wish.lab
    try:
        refuse_foreign_users(seen, place.folders(lab).top)
    except LabctlError:
        return False
    place.store.add_event(lab, who(), TAKE, spare)
    if wish.own:  # before it moves: a crash must not leave a lab that does not know its values
        write_own(place.folders(spare).top, wish.own)
    with place.store.intent(lab, TAKE, spare):
        move_in(place, lab, spare)
    return True
