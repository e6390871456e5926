"""labctl's requests to libvirt's answers: the one door to the hypervisor, for many threads at once."""

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labctl.errors import DeadlineMissed
from labctl.hypervisor import agent, allow_list, domains, freezing, links, networks, tpm, waiting
from labctl.hypervisor.binding import Connection
from labctl.hypervisor.capabilities import read_qemu_owner
from labctl.hypervisor.console import Console, open_console
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.events import Change, EventFeed
from labctl.hypervisor.failure import AgentSilent
from labctl.hypervisor.graphics import open_graphics, take_picture
from labctl.hypervisor.overview import PATIENCE_SECONDS, Overview
from labctl.hypervisor.ownership import read_description
from labctl.language import _

LOOK_SECONDS, LOOK_SECONDS_LATER = 0.1, 0.4  # between two looks at a program in a guest, which cost it time: its
# agent sends no event, and notes each look in the journal
OWNER_SECONDS = 60.0  # libvirt's settings change with a restart by hand; every disk of a class asks for its owner

T = TypeVar("T")


@dataclass(frozen=True)
class Versions:
    """The versions of libvirt's daemon and of the hypervisor behind it, as ``9.0.0``."""

    libvirt: str
    hypervisor: str


class Hypervisor(Overview):
    """Machines and networks of one libvirt, seen and changed.

    Every change first reads our tag on the object and raises Refused for what is not of the lab given, which is
    named by its seat: its own name unless it was a spare.
    """

    def __init__(
        self, uri: str = "qemu:///system", connections: int = 4, *, patience: float = PATIENCE_SECONDS
    ) -> None:
        super().__init__(uri, connections, patience=patience)
        self._feed = EventFeed(self._pool)
        self._owner = (0, 0), 0.0  # and until when it is known

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        self._feed.close()
        super().close()

    def versions(self) -> Versions:
        """Ask the daemon for the versions in use."""
        failing = _("libvirt does not tell its version")
        numbers = self._pool.use(lambda connection: (connection.getLibVersion(), connection.getVersion()), failing)
        return Versions(*(_dotted(number) for number in numbers))

    def qemu_owner(self) -> tuple[int, int]:
        """Return the user and group ids that guests run as; those of this process where libvirt changes neither."""
        owner, until = self._owner
        if time.monotonic() >= until:
            owner = self._pool.use(read_qemu_owner, _("libvirt does not tell which user runs the machines"))
            self._owner = owner, time.monotonic() + OWNER_SECONDS
        return owner

    def tpm_storage(self) -> Path:
        """Return where the daemon keeps the states of machines' TPMs, each below its machine's UUID."""
        return tpm.STORAGE

    def create_network(self, xml: str, *, validated: bool = False) -> None:
        """Define and start a network, now and with every start of the host, or adopt ours with the same tag.

        `validated` says that its like was defined before. Raises Refused where a foreign or different network, or a
        host interface, has its name or bridge.
        """
        described = read_description(xml)
        failing = _('the network "{name}" cannot be created').format(name=described.name)
        self._pool.use(lambda connection: networks.create(connection, described, validated=validated), failing)

    def remove_network(self, name: str, lab: str) -> None:
        """Stop and undefine a network of the lab; an absent one is what was wanted."""
        failing = _('the network "{name}" cannot be removed').format(name=name)
        self._pool.use(lambda connection: networks.remove(connection, name, lab), failing)

    def define_domain(self, xml: str, *, validated: bool = False) -> None:
        """Define a machine, or redefine the lab's own of the same name; `validated` says that its like was before."""
        described = read_description(xml)
        failing = _('the machine "{name}" cannot be defined').format(name=described.name)
        self._pool.use(lambda connection: domains.define(connection, described, validated=validated), failing)

    def start_domain(self, name: str, lab: str) -> None:
        """Start a machine of the lab, or let a paused one run on; one that is running is what was wanted."""
        failing = _('the machine "{name}" cannot be started').format(name=name)
        self._pool.use(lambda connection: domains.start(connection, name, lab), failing)

    def suspend_domain(self, name: str, lab: str) -> None:
        """Stop the processors of a running machine of the lab; one that is paused is what was wanted."""
        failing = _('the machine "{name}" cannot be paused').format(name=name)
        self._pool.use(lambda connection: freezing.suspend(connection, name, lab), failing)

    def save_domain(self, name: str, lab: str, path: Path) -> None:
        """Write the memory of a machine of the lab to `path` (0600, whole or not at all) and switch the machine off.

        One that is paused is saved as paused. When it fails, the machine goes on as before.
        """
        failing = _('the memory of "{name}" cannot be saved').format(name=name)
        self._pool.use(lambda connection: freezing.save(connection, name, lab, path), failing)

    def restore_domain(
        self, saved: Path, xml: str, name: str, *, running: bool, delivery: Delivery = Delivery.FIFO
    ) -> None:
        """Define the machine of `xml`, without autostart, and load its memory from another one's saved state.

        It runs at once, or waits for `start_domain`. Raises Refused as `define_domain` does and for a
        machine that runs, StateNotUsable where this host's QEMU or processor cannot load the state (a cold
        boot can still work), StateDamaged for a broken file. A machine that was new is gone again when it fails.
        """
        failing = _('the machine "{name}" cannot be made from its saved state').format(name=name)
        self._pool.use(freezing.Restoration(freezing.Thaw(saved, xml, name, running, delivery)), failing)

    def guest_exec(
        self, name: str, lab: str, argv: Sequence[str], stdin: bytes = b"", *, deadline: float
    ) -> agent.Ended:
        """Run a program in a machine of the lab, by its agent, and return its exit code and the start of its stdout.

        The program must be one that may run twice: an agent that falls silent is asked again. Raises DeadlineMissed
        after `deadline` seconds; the program may still run then.
        """
        failing = _('the guest agent of "{name}" does not do what was asked').format(name=name)
        end = time.monotonic() + deadline

        def ask(act: Callable[[Connection], T]) -> T:
            while True:
                try:
                    return self._pool.use(act, failing)
                except AgentSilent:
                    if time.monotonic() > end:
                        raise
                    time.sleep(LOOK_SECONDS_LATER)

        pid = ask(lambda connection: agent.start_program(connection, name, lab, argv, stdin))
        pause = LOOK_SECONDS
        while True:
            ended = ask(lambda connection: agent.find_end(connection, name, lab, pid))
            if ended is not None:
                return ended
            if time.monotonic() > end:
                text = _('"{program}" did not end within {seconds:.0f} s in "{name}"')
                raise DeadlineMissed(text.format(program=argv[0], seconds=deadline, name=name))
            time.sleep(pause)
            pause = min(pause * 2, LOOK_SECONDS_LATER)

    def destroy_domain(self, name: str, lab: str) -> None:
        """Cut the power of a machine of the lab; one that is off or absent is what was wanted."""
        failing = _('the machine "{name}" cannot be switched off').format(name=name)
        self._pool.use(lambda connection: domains.destroy(connection, name, lab), failing)

    def set_link(self, name: str, lab: str, mac: str, *, up: bool) -> None:
        """Pull the network cable of one card of a machine of the lab, or plug it in; running or not."""
        failing = _('the network link of "{name}" cannot be changed').format(name=name)
        self._pool.use(lambda connection: links.set_link(connection, name, lab, mac, up=up), failing)

    def limit_network(self, name: str, lab: str, pinned: allow_list.Pinned) -> None:
        """Let a network of the lab reach these names at their addresses, and nothing else outside."""
        failing = _('the network "{name}" cannot be limited to names').format(name=name)
        self._pool.use(lambda connection: allow_list.limit(connection, name, lab, pinned), failing)

    def remove_domain(self, name: str, lab: str) -> None:
        """Cut the power and undefine a machine of the lab with its saved state and snapshot records; disks stay."""
        failing = _('the machine "{name}" cannot be removed').format(name=name)
        self._pool.use(lambda connection: domains.remove(connection, name, lab), failing)

    def mark_configured(self, name: str, lab: str, configured: str) -> None:
        """Write the hash of what Ansible brought to its end into the machine's tag."""
        failing = _('the machine "{name}" cannot be marked as configured').format(name=name)
        self._pool.use(lambda connection: domains.mark_configured(connection, name, lab, configured), failing)

    def hand_domain(self, name: str, seat: str, lab: str, owner: str) -> None:
        """Write into the tag of a machine of a seat whose lab it is from now on; it may run."""
        failing = _('the machine "{name}" cannot be given to another lab').format(name=name)
        self._pool.use(lambda connection: domains.hand_over(connection, name, seat, lab, owner), failing)

    def wait_agent(self, name: str, deadline: float) -> None:
        """Return once the guest agent answers.

        Raises DeadlineMissed after `deadline` seconds, LabctlError as soon as the machine stops, crashes
        or is suspended by a disk error.
        """
        late = self._wait(name, deadline, waiting.agent_answers)
        if late is not None:
            raise waiting.agent_missed(late, deadline)

    def watch(self, callback: Callable[[Change], None]) -> AbstractContextManager[None]:
        """Call back, from the event thread, for every change of any machine while the context is open."""
        return self._feed.watching(callback)

    def open_console(self, name: str, lab: str, force: bool = False) -> Console:
        """Open the serial console of a running machine of the lab.

        Raises Busy where somebody else has it open, unless `force` takes it over.
        """
        return self._pool.patiently(lambda: open_console(self._pool, name, lab, force=force))

    def open_graphics(self, name: str, lab: str) -> socket.socket:
        """Return a socket to the screen of a running machine of the lab, which speaks VNC to one client."""
        failing = _('the screen of "{name}" cannot be opened').format(name=name)
        return self._pool.use(lambda connection: open_graphics(connection, name, lab), failing)

    def take_picture(self, name: str, lab: str) -> bytes:
        """Return a picture of the screen of a machine of the lab that runs or is paused, as PPM."""
        failing = _('the screen of "{name}" cannot be opened').format(name=name)
        return self._pool.use(lambda connection: take_picture(connection, name, lab), failing)

    def describe_domain(self, name: str, lab: str) -> str:
        """Return libvirt's XML of a machine of the lab as it is now."""
        failing = _('the machine "{name}" cannot be looked at').format(name=name)
        return self._pool.use(lambda connection: str(domains.find_own(connection, name, lab).XMLDesc()), failing)

    def _wait(self, name: str, deadline: float, settled: Callable[[waiting.Glance], bool]) -> waiting.Glance | None:
        failing = _('the machine "{name}" cannot be looked at').format(name=name)

        def look() -> waiting.Glance | None:
            return self._pool.use(lambda connection: waiting.glance(connection, name), failing)

        return waiting.wait_for(self._feed, name, deadline, look, settled)


def _dotted(number: int) -> str:
    """Return libvirt's number for a version, major * 1,000,000 + minor * 1,000 + release, as people write it."""
    major, rest = divmod(number, 1_000_000)
    return f"{major}.{rest // 1000}.{rest % 1000}"
