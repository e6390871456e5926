"""The names of the Internet that an exam allows, and the addresses that they have now."""

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from labctl.exam.session import Session

PATIENCE = 5.0  # seconds for all names together: an exam does not wait for a school's resolver
FRESH = 60.0  # seconds for which addresses are good: candidates who start together get the same


def resolve(name: str) -> tuple[str, ...]:
    """Return the IPv4 addresses that the host knows of a name, sorted; those of the host's own loopback are none."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return ()
    addresses = {IPv4Address(place[0]) for *_kind, place in found}
    return tuple(str(one) for one in sorted(addresses) if not (one.is_loopback or one.is_multicast))


@dataclass
class AllowedNames:
    """Some names, and the addresses to which they are pinned; asked again once these are older than a minute."""

    names: tuple[str, ...] = ()
    ask: Callable[[str], Sequence[str]] = resolve
    patience: float = PATIENCE
    _pins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pins(self) -> Mapping[str, tuple[str, ...]]:
        """Return the addresses of each name, none for a name that is not known now."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._pins = self._look_up()
                self._until = time.monotonic() + FRESH
            return self._pins

    def _look_up(self) -> Mapping[str, tuple[str, ...]]:
        """Ask for all names side by side; who does not answer in time is not waited for."""
        found: dict[str, tuple[str, ...]] = {}

        def look(name: str) -> None:
            found[name] = tuple(self.ask(name))

        threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in self.names]
        for thread in threads:
            thread.start()
        end = time.monotonic() + self.patience
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return {name: found.get(name, ()) for name in self.names}


def allowed_names(session: Session) -> AllowedNames:
    """Return the names that the exam of a session allows."""
    listed = session.read().about.get("internet")
    return AllowedNames(tuple(str(name) for name in listed) if isinstance(listed, list) else ())
