"""The states of all labs, kept in memory: libvirt is asked when it says that something changed, never by a browser.

A hanging libvirt (F-11) leaves the last known states standing, and `trouble` says so; a lost event (F-12) costs a
minute at most.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from labctl.errors import HostNotReady, LabctlError
from labctl.hypervisor.events import Change
from labctl.lab.lock import is_held
from labctl.lab.status import (
    USABLE,
    LabStatus,
    NodeState,
    NodeStatus,
    find_layouts,
    has_ssh,
    lab_names,
    lab_state,
    read_status,
    running_state,
)
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.plan.names import is_spare
from labctl.plan.observed import DomainState, SeenDomain
from labctl.worker.values import LabState

RECONCILE = 60.0  # seconds
SETTLE = 0.1  # seconds in which several events of one lab become one look
LONGEST_LOOK = 15.0  # seconds after which libvirt counts as hanging
MIND = 1.0  # seconds between two looks at whether it does
RETRY = 5.0  # seconds until a machine that did not answer is asked again
PATIENT = 600.0  # seconds for which that goes on
SHOWS_IT_RUNS = frozenset({*USABLE, NodeState.PAUSED})


class Watch:
    """Knows how all labs are. `changed` is called, from its own thread, with what a lab was and what it is now.

    `troubled` is called, from any thread, when libvirt goes away or hangs, and when it is there again.
    """

    def __init__(
        self, place: Workplace, changed: Callable[[LabStatus | None, LabStatus | None], None],
        longest_look: float = LONGEST_LOOK, troubled: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._troubled = troubled
        self._told_trouble = False
        self._place = place
        self._longest_look = longest_look
        self._changed = changed
        self._labs: Mapping[str, LabStatus] = {}
        self._bell = threading.Condition()
        self._domains: set[str] = set()
        self._dirty: set[str] = set()
        self._everything = True
        self._stopping = False
        self._looking_since: float | None = None
        self._silent_since: dict[str, float] = {}
        self._trouble = ""
        self.troubles = 0  # how many looks libvirt did not answer
        self._looked_at = -RECONCILE
        self.looked = threading.Event()  # once everything was seen for the first time
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()
        threading.Thread(target=self._mind, name="watch-mind", daemon=True).start()

    def stop(self) -> None:
        """End; a look that hangs in libvirt is left behind."""
        self._ended.set()
        with self._bell:
            self._stopping = True
            self._bell.notify_all()
        self._thread.join(2.0)

    def note(self, change: Change) -> None:
        """Hear of a change in libvirt, from its event thread."""
        with self._bell:
            if change.domain:
                self._domains.add(change.domain)
            else:
                self._everything = True
            self._bell.notify_all()
        if change.what == "lost":
            self._trouble = _("libvirt went away; what is shown may be old")
            self._tell_trouble()

    def look_at(self, *labs: str) -> None:
        """Ask for a fresh look at labs; at everything where none is named."""
        with self._bell:
            self._dirty.update(labs)
            self._everything = self._everything or not labs
            self._bell.notify_all()

    def find(self, lab: str) -> LabStatus | None:
        """Return how a lab is, None for one that is not known."""
        found = self._labs.get(lab)
        return self._now(found) if found else None

    def labs(self) -> tuple[LabStatus, ...]:
        """Return how all labs are, but those that wait for an owner."""
        return tuple(self._now(found) for found in self._labs.values() if not is_spare(found.owner))

    @property
    def trouble(self) -> str:
        """Return why the states may be old, "" where they are not."""
        since = self._looking_since
        if since is not None and time.monotonic() - since > self._longest_look:
            text = _("libvirt has not answered for {seconds:.0f} s; what is shown may be old")
            return text.format(seconds=time.monotonic() - since)
        return self._trouble

    def _now(self, status: LabStatus) -> LabStatus:
        """Return a state with what only its lock tells: whether a run holds the lab."""
        return replace(status, state=lab_state(status.nodes, is_held(self._place.home, status.name)))

    def _run(self) -> None:
        while True:
            with self._bell:
                if not (self._stopping or self._wanted()):
                    self._bell.wait(self._pause())
                if self._stopping:
                    return
            time.sleep(SETTLE)
            with self._bell:
                domains, self._domains = self._domains, set()
                dirty, self._dirty = self._dirty, set()
                due = bool(self._trouble) or time.monotonic() - self._looked_at >= RECONCILE
                everything, self._everything = self._everything or due, False
            self._look(domains, dirty | self._silent_due(), everything=everything)

    def _wanted(self) -> bool:
        return bool(self._domains or self._dirty or self._everything)

    def _pause(self) -> float:
        return RETRY if self._silent_since or self._trouble else RECONCILE

    def _silent_due(self) -> set[str]:
        now = time.monotonic()
        self._silent_since = {lab: at for lab, at in self._silent_since.items() if now - at < PATIENT}
        return {*self._silent_since}

    def _look(self, domains: set[str], labs: set[str], *, everything: bool) -> None:
        self._looking_since = time.monotonic()
        try:
            if domains:
                labs = labs | self._glance(domains)
            if everything:
                found = {one.name: one for one in read_status(self._place, lambda _lab: False)}
                self._keep(found, self._labs.keys() | found.keys())
                self._looked_at = time.monotonic()
                self.looked.set()
            elif labs:
                some = {one.name: one for one in read_status(self._place, lambda _lab: False, labs)}
                self._keep(some, labs)
        except HostNotReady as exc:
            self._trouble = exc.message
            self.troubles += 1
        except (LabctlError, OSError) as exc:
            self._trouble = str(exc)
        else:
            self._trouble = ""
        finally:
            self._looking_since = None
            self._tell_trouble()

    def _mind(self) -> None:
        """Notice a look that hangs, which its own thread cannot."""
        while not self._ended.wait(MIND):
            self._tell_trouble()

    def _tell_trouble(self) -> None:
        """Tell where there is trouble now and was none, or the other way round."""
        with self._bell:
            troubled = bool(self.trouble)
            if troubled is self._told_trouble:
                return
            self._told_trouble = troubled
        self._troubled()

    def _glance(self, domains: set[str]) -> set[str]:
        """Note at once what libvirt alone tells of these machines, and return their labs; guests are asked later."""
        seats = self._place.read_seats()
        starts = {name.removeprefix(self._place.prefix).rpartition(".")[0] for name in domains if "." in name}
        labs = set()
        for seat in starts:
            start = f"{self._place.prefix}{seat}."
            seen = [one for one in self._place.see(start).domains if one.name.startswith(start)]  # more may be told
            lab = next((found for one in seen if one.tag and (found := seats.lab_of(one.tag))), "")
            lab = lab or seats.by_seat.get(seat, seat)
            labs.add(lab)
            self._keep({lab: self._quick(lab, [one for one in seen if one.tag])}, {lab})
        return labs

    def _quick(self, lab: str, seen: Sequence[SeenDomain]) -> LabStatus:
        known = self._labs.get(lab)
        layout = find_layouts(self._place, [lab]).get(lab, ())
        before = {node.name: node.state for node in known.nodes} if known else {}
        by_member = {one.tag.member: one for one in seen if one.tag}
        members = [*layout, *(name for name in by_member if name not in layout)]
        nodes = tuple(quick_node(member, by_member.get(member), before.get(member)) for member in members)
        topology, owner = (known.topology, known.owner) if known else lab_names(self._place, lab, seen)
        checks, made = (known.checks, known.made) if known else ({"passed": 0, "failed": 0, "unknown": 0}, "")
        return LabStatus(lab, topology, owner, lab_state(nodes, False), nodes, checks, made)

    def _keep(self, found: Mapping[str, LabStatus], looked_at: set[str]) -> None:
        labs = dict(self._labs)
        changes = []
        for lab in sorted(looked_at):
            before, now = labs.get(lab), found.get(lab)
            if now is not None and not now.nodes and lab not in self._place.known_labs():
                now = None  # all of its machines are gone, and so is its folder
            if now is None:
                labs.pop(lab, None)
            else:
                labs[lab] = now
            if now is not None and any(node.state is NodeState.SILENT for node in now.nodes):
                self._silent_since.setdefault(lab, time.monotonic())
            else:
                self._silent_since.pop(lab, None)
            if before != now:
                changes.append((before, now))
        self._labs = labs
        for before, now in changes:
            with suppress(LabctlError):  # who cannot be told reads it later
                self._changed(before, now)


def quick_node(member: str, seen: SeenDomain | None, before: NodeState | None) -> NodeStatus:
    """Return a node from libvirt's word and what it was before: whether it answers is found out later."""
    if seen is None:
        return NodeStatus(member, NodeState.MISSING, "")
    tag = seen.tag
    match seen.state:
        case DomainState.PAUSED:
            state = NodeState.PAUSED
        case DomainState.STOPPED:
            state = NodeState.STOPPED
        case DomainState.CRASHED:
            state = NodeState.CRASHED
        case DomainState.RUNNING:
            configured = tag is not None and tag.configured != ""
            state = running_state(tag, answers=configured and before in SHOWS_IT_RUNS)
    return NodeStatus(member, state, tag.address if tag else "", seen.reason, ssh=has_ssh(tag))


def state_of(status: LabStatus | None) -> LabState:
    """Return the state of a lab as the portal has it: one whose machines all stand still was suspended."""
    if status is None or not status.nodes:
        return LabState.ABSENT
    if status.state != LabState.WORKING and all(node.state is NodeState.PAUSED for node in status.nodes):
        return LabState.SUSPENDED
    return LabState(status.state)
