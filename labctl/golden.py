"""Golden labs: a topology built, configured and checked once, then frozen; labs are cloned from it in seconds."""

import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from labctl.checks.model import Outcome, Result
from labctl.errors import Busy, LabctlError, Refused
from labctl.images.overlay import chain, find_disks
from labctl.images.store import not_given
from labctl.lab import keys
from labctl.lab.board import keep_board
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.checkpoint import FOLDER as CHECKPOINTS
from labctl.lab.down import take_down
from labctl.lab.files import explain_files
from labctl.lab.frozen import Frozen, freeze_file, read_frozen, seal
from labctl.lab.hygiene import check_hygiene
from labctl.lab.lock import hold_lab
from labctl.lab.standstill import SAVES, everywhere, quiesce, suspend_together
from labctl.lab.up import bring_up
from labctl.lab.wish import Pace, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.lab import RENDER_VERSION, roles_hash
from labctl.plan.model import Plan, PlannedNode
from labctl.plan.names import SEATS, digest
from labctl.store import now
from labctl.topology.load import find_topology, load_topology
from labctl.topology.model import Topology

PATIENCE = 3600.0  # seconds that a second run waits for the one that builds the same golden lab


def golden_parts(place: Workplace, topology: Topology) -> dict[str, str]:
    """Return the hashes of all that a golden lab is made from, by name: what changed can then be said."""
    layout = place.layout(f"{topology.name}-golden", topology)
    images = sorted({place.image_identity(node.image) for node in layout.nodes})
    services = (service for node in layout.nodes for service in node.services)
    return {
        # Faults come after: a trainer who writes one more does not wait for a new golden lab. Variants have their
        # defaults in it, and those are in the rest of the topology.
        "topology": digest(topology.model_dump_json(exclude={"faults", "variants"}))[:16],
        "playbooks": roles_hash(services, place.setting)[:16],
        "images": digest(*images)[:16],
        "render": RENDER_VERSION,
    }


def golden_id(topology: Topology, parts: Mapping[str, str]) -> str:
    """Return the name of a golden lab: its topology's, and the hash of its parts."""
    return f"{topology.name}-{digest(json.dumps(parts, sort_keys=True))[:12]}"


def find_golden(place: Workplace, topology: Topology) -> Frozen | None:
    """Return the golden lab of a topology as it is now, None where it has to be built. Raises where it was changed."""
    found = read_frozen(golden_folder(place) / golden_id(topology, golden_parts(place, topology)))
    if found:
        found.check()
    return found


def lab_golden(place: Workplace, plan: Plan, anew: Collection[str]) -> str:
    """Return the id of the golden lab that the missing nodes of a lab are cloned from.

    Nodes of two golden labs do not trust each other: while one is kept, its golden lab is used for the others too.
    """
    names = {node.name for node in plan.nodes if node.member not in anew}
    kept = {
        seen.tag.golden
        for seen in place.see(f"{place.prefix}{plan.seat}.").domains
        if seen.tag and seen.name in names and seen.tag.golden
    }
    return min(kept) if kept else plan.golden


def find_by_id(place: Workplace, name: str, lab: str) -> Frozen:
    """Return the golden lab of an id. Raises Refused where it is gone: the lab can only be made anew as a whole."""
    found = read_frozen(golden_folder(place) / name)
    if found is None:
        text = _('the golden lab {id}, from which "{lab}" was cloned, is gone')
        raise Refused(text.format(id=name, lab=lab), hint=f"labctl reset {lab}")
    return found


def golden_folder(place: Workplace) -> Path:
    """Return where golden labs are."""
    return place.home / "golden"


def list_golden(place: Workplace) -> tuple[Frozen, ...]:
    """Return all golden labs, by name."""
    found = (read_frozen(path) for path in sorted(golden_folder(place).glob("*")))
    return tuple(golden for golden in found if golden)


def ensure_golden(
    place: Workplace, source: tuple[Topology, Path], pace: Callable[[Path], Pace], monitor: Monitor, stop: Stop
) -> Frozen:
    """Return the golden lab of a topology (and the file it was read from), built where there is none.

    Raises LabctlError where a node or a check fails: that lab then stays up for inspection.
    """
    topology, path = source
    parts = golden_parts(place, topology)
    name = golden_id(topology, parts)
    owner = f"golden-{name.rpartition('-')[2][:6]}"
    if found := find_golden(place, topology):
        with suppress(Busy):  # many runs come by here at once: one of them is enough
            take_down(place, f"{topology.name}-{owner}", monitor)  # a crash may have left what it was built on
        return found
    check_given(place, topology)
    with hold_lab(place.home, f"golden-{name}", "golden", PATIENCE):
        if found := find_golden(place, topology):
            return found
        plan, result = bring_up(place, Wish(topology, path, owner, replace=True), pace, monitor, stop)
        for error in result.failures.values():
            raise failed_build(plan, error.message, error.hint)
        check_all(place, topology, plan, monitor)
        try:
            check_hygiene(place, plan.nodes, monitor)
        except LabctlError as exc:
            raise failed_build(plan, exc.message, exc.hint) from exc
        golden = Frozen(name, topology.name, golden_folder(place) / name, now(), parts)
        with explain_files(golden_folder(place)):
            freeze(place, plan, golden, monitor)
        take_down(place, plan.lab, monitor)
        return golden


def check_given(place: Workplace, topology: Topology) -> None:
    """Raise HostNotReady where a machine starts from an image that only the school can give, and did not yet."""
    for node in place.layout(f"{topology.name}-golden", topology).nodes:
        if place.catalogue.images[node.image.recipe].command and place.images.find(place.spec(node.image)) is None:
            raise not_given(node.image.recipe)


def failed_build(plan: Plan, said: str, hint: str) -> LabctlError:
    """Return the error of a golden lab that is not frozen."""
    text = _("the golden lab is not frozen; its machines stay up as {lab}: {said}")
    return LabctlError(text.format(lab=plan.lab, said=said), hint=hint or f"labctl check {plan.lab}")


def check_all(place: Workplace, topology: Topology, plan: Plan, monitor: Monitor) -> None:
    """Run every check of the topology. Raises LabctlError naming those that do not pass."""
    prober = SshProber(place.guests, place.logins(plan.lab, topology))
    outcomes = run_checks(topology.checks, prober, monitor)
    bad = [outcome for outcome in outcomes if outcome.result is not Result.PASSED]
    if bad:
        raise failed_build(plan, "; ".join(map(describe, bad)), f"labctl check {plan.lab}")


def describe(outcome: Outcome) -> str:
    """Return a check that did not pass in a few words."""
    return f"{outcome.check.id}: {outcome.seen}"


def freeze(place: Workplace, plan: Plan, golden: Frozen, monitor: Monitor) -> None:
    """Suspend all nodes together, save each memory, freeze each disk; the manifest makes it valid, at the very end."""
    shutil.rmtree(golden.folder, ignore_errors=True)
    for folder in (golden.folder, golden.state("x").parent, golden.disk("x").parent):
        folder.mkdir(mode=0o711, parents=True)
    nodes = plan.nodes
    everywhere(nodes, lambda node: quiesce(place, node), len(nodes))
    suspend_together(place, nodes)

    def save(node: PlannedNode) -> None:
        monitor.tell(Event(node.member, "freeze", Progress.STARTED))
        place.freezer.save_domain(node.name, plan.seat, golden.state(node.member))
        monitor.tell(Event(node.member, "freeze", Progress.DONE))

    everywhere(nodes, save, SAVES)
    shutil.copyfile(plan.folders.topology, golden.source)
    files = {golden.source.name: freeze_file(golden.source, golden.source)}
    for node in nodes:
        state = golden.state(node.member)
        for disk, frozen in zip(plan.folders.disks(node), golden.disks(node), strict=True):
            files[f"disks/{frozen.name}"] = freeze_file(disk, frozen)
        files[f"states/{state.name}"] = freeze_file(state, state)
        for path in keep_board(plan.folders, node, golden, place.freezer.tpm_storage()):
            files[str(path.relative_to(golden.folder))] = seal(path)
    keys.copy_inherited(plan.folders.secrets, golden.secrets)
    golden.write(files)


def remove_golden(place: Workplace, golden: Frozen) -> None:
    """Delete a golden lab. Raises Refused where disks of a lab, or of a lab's checkpoint, still stand on it."""
    users = find_users(place).get(golden.id, ())
    if users:
        text = _("the golden lab {id} is used by {labs}")
        lab, _slash, checkpoint = users[0].partition("/")
        hint = f"labctl checkpoint rm {lab} {checkpoint}" if checkpoint else f"labctl down {lab}"
        raise Refused(text.format(id=golden.id, labs=", ".join(users)), hint=hint)
    golden.manifest.unlink()  # from here on it is no golden lab, whatever stops the rest
    shutil.rmtree(golden.folder)


def find_users(place: Workplace) -> dict[str, tuple[str, ...]]:
    """Return who stands on each golden lab, by its id: labs as LAB, their checkpoints as LAB/NAME, sorted."""
    labs, folder = place.home / "labs", golden_folder(place)
    seated = place.read_seats().by_seat
    users: dict[str, set[str]] = {}
    for disk in find_disks(labs):
        lab, *rest = disk.relative_to(labs).parts
        if lab == SEATS:
            lab, rest = seated.get(rest[0], rest[0]), rest[1:]
        user = f"{lab}/{rest[1].partition('.')[0]}" if rest[0] == CHECKPOINTS else lab
        for base in chain(disk):
            if folder in base.parents:
                users.setdefault(base.relative_to(folder).parts[0], set()).add(user)
    return {name: tuple(sorted(found)) for name, found in users.items()}


class Freshness(StrEnum):
    """Whether a golden lab is what would be built now."""

    CURRENT = "current"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """Whether a golden lab is current, which of its parts changed since, and what changed in its topology."""

    freshness: Freshness
    changed: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def judge(place: Workplace, golden: Frozen, shipped: Path) -> Verdict:
    """Compare a golden lab with what would be built now from the topology of its name in the folder `shipped`.

    One whose topology came from elsewhere is compared by its own copy: it can be stale, never surely current.
    """
    now_there, own = try_shipped(place, golden.topology, shipped), try_topology(place, golden.source)
    reference = now_there or own
    if reference is None or not golden.parts:
        return Verdict(Freshness.UNKNOWN)
    parts = golden_parts(place, reference)
    changed = tuple(name for name, value in parts.items() if golden.parts.get(name) != value)
    if changed:
        details = topology_changes(own, reference) if own and "topology" in changed else ()
        return Verdict(Freshness.STALE, changed, tuple(details))
    return Verdict(Freshness.CURRENT if now_there else Freshness.UNKNOWN)


def try_shipped(place: Workplace, name: str, shipped: Path) -> Topology | None:
    """Return the shipped topology of a name, None where there is none or it has problems."""
    try:
        path = find_topology(name, shipped)
    except LabctlError:
        return None
    return try_topology(place, path) if path.parent == shipped else None


def try_topology(place: Workplace, path: Path) -> Topology | None:
    """Return the topology of a file, None where there is none or it has problems."""
    try:
        return load_topology(path, place.catalogue) if path.exists() else None
    except LabctlError:
        return None


def topology_changes(old: Topology, new: Topology) -> Iterator[str]:
    """Yield what differs between two topologies, as `nodes.web`, `checks.site-https` or `version`."""
    for key in Topology.model_fields:
        before, after = parts_of(getattr(old, key)), parts_of(getattr(new, key))
        names = dict.fromkeys([*before, *after])
        yield from (f"{key}.{name}" if name else key for name in names if before.get(name) != after.get(name))


def parts_of(value: object) -> dict[str, object]:
    """Return the named things in a value of a topology; one that is not made of them has no name."""
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if isinstance(value, tuple) and value and all(hasattr(part, "id") for part in value):
        return {str(part.id): part for part in value}
    return {"": value}


def find_unused(place: Workplace, shipped: Path, *, everything: bool = False) -> tuple[Frozen, ...]:
    """Return the golden labs that no lab or checkpoint stands on and that are stale, or all of those."""
    users = find_users(place)
    free = (golden for golden in list_golden(place) if golden.id not in users)
    return tuple(golden for golden in free if everything or judge(place, golden, shipped).freshness is Freshness.STALE)
