"""Wrong secrets to how long somebody must wait: per account from one address, per account, and per address.

A class shares one address. So an address is never locked: it may fail so often a minute, which a class that mistypes
does not reach. Each account has a few attempts of its own beside that, and whoever got in from an address before is
not held up there by what others do.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from labctl.worker.records import Records, now

Execute = Callable[[str, tuple[Any, ...]], Iterable[Any]]  # of a connection to the database

WINDOW = 3600.0  # seconds; what is older is forgotten
FREE, FIRST_WAIT, LONGEST_WAIT = 5, 15.0, 300.0  # wrong ones in a row from one address; then seconds, doubled each time
ACCOUNT_LIMIT, ACCOUNT_WAIT = 40, 300.0  # wrong ones an hour from all addresses
ADDRESS_RATE, ADDRESS_BURST = 0.5, 60  # wrong ones a second in the long run, and at once: 24 people, two mistakes each
OWN_ATTEMPTS = 3  # of a known account in the window, that no crowd at its address can use up
KEPT = 200_000  # rows; an attack must not fill the disk


@dataclass(frozen=True)
class Throttle:
    """Counts wrong secrets in the portal's database, so that a restart forgives nobody. `clock` is in seconds."""

    records: Records
    clock: Callable[[], float] = time.time

    def wait(self, account: str, address: str, *, known: bool) -> int:
        """Return the seconds to wait before the next attempt, 0 for none. `known` says that the account exists."""
        at = self.clock()
        with self.records.transaction(reading=True) as connection:
            pair = recent(connection.execute, "account = ? AND address = ?", (account, address), at)
            mine = recent(connection.execute, "account = ?", (account,), at)
            got_in = "SELECT 1 FROM known_address WHERE account = ? AND address = ?"
            familiar = connection.execute(got_in, (account, address)).fetchone() is not None
            seconds = wait_for_pair(pair, at)
            if not familiar and len(mine) >= ACCOUNT_LIMIT:
                seconds = max(seconds, mine[-1] + ACCOUNT_WAIT - at)
            if not (familiar or (known and len(mine) < OWN_ATTEMPTS)):
                seconds = max(seconds, wait_for_address(recent(connection.execute, "address = ?", (address,), at), at))
        return max(0, int(-(-seconds // 1)))

    def note_failure(self, account: str, address: str) -> None:
        """Count a wrong secret."""
        at = self.clock()
        with self.records.transaction() as connection:
            row = connection.execute(
                "INSERT INTO attempt (at, account, address) VALUES (?, ?, ?)", (at, account, address)
            ).lastrowid
            connection.execute("DELETE FROM attempt WHERE at < ? OR id <= ?", (at - WINDOW, (row or 0) - KEPT))

    def note_success(self, account: str, address: str) -> None:
        """Forget the wrong secrets of an account at an address, and remember that it got in from there."""
        with self.records.transaction() as connection:
            connection.execute("DELETE FROM attempt WHERE account = ? AND address = ?", (account, address))
            connection.execute("INSERT OR REPLACE INTO known_address VALUES (?, ?, ?)", (account, address, now()))


@dataclass
class Buckets:
    """Lets everybody do so many things at once, and `rate` a second in the long run; any thread may ask."""

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    levels: dict[str, tuple[float, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, who: str) -> bool:
        """Return whether somebody may do one more thing now."""
        at = self.clock()
        with self.lock:
            level, last = self.levels.get(who, (0.0, at))
            level = max(0.0, level - (at - last) * self.rate)
            allowed = level + 1 <= self.burst
            self.levels[who] = (level + 1 if allowed else level, at)
        return allowed


def recent(execute: Execute, where: str, values: tuple[str, ...], at: float) -> list[float]:
    """Return the times of the wrong secrets in the window, the oldest first."""
    query = f"SELECT at FROM attempt WHERE {where} AND at > ? ORDER BY at DESC LIMIT 1000"  # noqa: S608  our words
    return [float(found) for (found,) in execute(query, (*values, at - WINDOW))][::-1]


def wait_for_pair(times: list[float], at: float) -> float:
    """Return the seconds to wait after so many wrong ones in a row."""
    if len(times) < FREE:
        return 0.0
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (len(times) - FREE))
    return times[-1] + wait - at


def wait_for_address(times: list[float], at: float) -> float:
    """Return the seconds until the bucket of an address has room for one more."""
    level, last = 0.0, 0.0
    for moment in times:
        level = max(0.0, level - (moment - last) * ADDRESS_RATE) + 1
        last = moment
    level = max(0.0, level - (at - last) * ADDRESS_RATE)
    return (level + 1 - ADDRESS_BURST) / ADDRESS_RATE
