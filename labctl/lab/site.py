"""What one look at an installation needs and no more: the home folder, libvirt's list, the database, who answers.

`labctl status` opens only this: the rest of a workplace takes longer to import than the answer may take.
"""

import errno
import os
import selectors
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from labctl.errors import LabctlError
from labctl.language import _
from labctl.plan.names import SEATS, home_mark
from labctl.plan.observed import Endpoint, Observed, Tag
from labctl.process import read_boot_id
from labctl.store import Store

DEFAULT_HOME = Path("/var/lib/labctl")
DEFAULT_URI = "qemu:///system"


class Observer(Protocol):
    """The hypervisor, for those who only look."""

    def observe(self, start: str = "") -> Observed: ...  # noqa: D102  a Protocol's method is named after the consumer's need


@dataclass(frozen=True)
class Seats:
    """Which seats labs have that are not their own folders: `by_lab` maps lab to seat.

    A seat is a folder below `labs/.seats`, and the name that libvirt's names of its machines and networks begin
    with. A lab in a seat is a link to it: a spare becomes somebody's lab when its link is renamed.
    """

    by_lab: Mapping[str, str]

    @property
    def by_seat(self) -> dict[str, str]:
        """Return the lab of each seat."""
        return {seat: lab for lab, seat in self.by_lab.items()}

    def lab_of(self, tag: Tag) -> str:
        """Return the lab of an object, "" for one of a seat that its lab has left: it is to go."""
        found = self.by_seat.get(tag.seat_name)
        if found is not None:
            return found
        return tag.lab if self.by_lab.get(tag.lab, tag.seat_name) == tag.seat_name else ""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One installation as it is seen. `prefix` starts every libvirt name; `boot_id` names this start of the host."""

    home: Path
    prefix: str
    machines: Observer
    store: Store
    boot_id: str = field(default_factory=read_boot_id)

    def see(self, start: str = "") -> Observed:
        """Return the host as it is; what another installation made is as foreign as what labctl did not make.

        With `start`, only the machines and networks whose names start so: a look at one lab among many.
        """
        seen = self.machines.observe(start)
        mark = home_mark(str(self.home))
        domains = (one if one.tag is None or one.tag.home == mark else replace(one, tag=None) for one in seen.domains)
        networks = (one if one.tag is None or one.tag.home == mark else replace(one, tag=None) for one in seen.networks)
        return replace(seen, domains=tuple(domains), networks=tuple(networks))

    def known_labs(self) -> Sequence[str]:
        """Return the labs that have a folder here, sorted."""
        top = self.home / "labs"
        return sorted(path.parent.name for path in top.glob("*/topology.yml")) if top.is_dir() else []

    def linked_seat(self, lab: str) -> str:
        """Return the seat that a lab is a link to, "" for a lab with a folder of its own."""
        try:
            target = (self.home / "labs" / lab).readlink()
        except OSError:
            return ""
        return target.name if target.parent == Path(SEATS) else ""

    def seat_of(self, lab: str) -> str:
        """Return the name that libvirt's names of a lab's machines and networks begin with, after the prefix."""
        return self.linked_seat(lab) or lab

    def read_seats(self) -> Seats:
        """Return which labs sit in a seat."""
        top = self.home / "labs"
        with os.scandir(top) as entries:
            links = [entry.name for entry in entries if entry.is_symlink()]
        return Seats({lab: seat for lab in sorted(links) if (seat := self.linked_seat(lab))})

    def was_up_before_reboot(self, lab: str) -> bool:
        """Return whether the host was restarted since a lab was last brought up."""
        known = self.store.lab(lab)
        return known is not None and known.boot not in {"", self.boot_id}

    def who_answers(self, endpoints: Collection[Endpoint], timeout: float) -> frozenset[Endpoint]:
        """Return the endpoints whose kernel accepts a connection within `timeout` seconds in all."""
        return knock(endpoints, timeout)


def open_site(machines: Observer, environment: Mapping[str, str]) -> Site:
    """Return the installation that LABCTL_HOME and LABCTL_PREFIX describe."""
    home = home_folder(environment)
    ensure_home(home)
    return Site(home=home, prefix=environment.get("LABCTL_PREFIX", ""), machines=machines, store=Store(home))


def knock(endpoints: Collection[Endpoint], timeout: float) -> frozenset[Endpoint]:
    """Return the endpoints that accept a TCP connection; all are asked at once, so many dead ones cost one timeout."""
    until = time.monotonic() + timeout
    found: set[Endpoint] = set()
    with selectors.DefaultSelector() as waiting, ExitStack() as sockets:
        for endpoint in set(endpoints):
            # A zone that is gone, or no descriptor left: nobody answers there.
            with suppress(OSError):
                # As bytes: for an address as text, Python would import its codec of international names first.
                family, kind, protocol, _name, target = socket.getaddrinfo(
                    endpoint.address.encode(), endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
                )[0]
                connection = sockets.enter_context(socket.socket(family, kind, protocol))
                connection.setblocking(False)
                if connection.connect_ex(target) in {0, errno.EINPROGRESS}:
                    waiting.register(connection, selectors.EVENT_WRITE, endpoint)
        while waiting.get_map() and (left := until - time.monotonic()) > 0:
            for key, _events in waiting.select(left):
                waiting.unregister(key.fileobj)
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(key.data)
    return frozenset(found)


def home_folder(environment: Mapping[str, str]) -> Path:
    """Return LABCTL_HOME, /var/lib/labctl by default."""
    return Path(environment.get("LABCTL_HOME") or DEFAULT_HOME).absolute()


def ensure_home(home: Path) -> None:
    """Make the home folder; QEMU's user must be able to walk through it, not to list it."""
    try:
        (home / "labs").mkdir(mode=0o711, parents=True, exist_ok=True)
        home.chmod(0o711)
    except OSError as exc:
        text = _('the folder "{path}" cannot be used: {error}')
        raise LabctlError(text.format(path=home, error=exc.strerror), hint=f"ls -ld {home} {home.parent}") from exc
