"""The bridges of labs to files of the flows on them, as long as somebody watches: no content is kept, heads alone.

A packet socket (packet(7)) is all that it takes: it sees what is tried as well as what passes, which a table of
connections does not, and needs no program that a host may lack.
"""

import json
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from labctl.exam.evidence.flows import SEEN_BYTES, FlowTable
from labctl.exam.evidence.store import write_durably
from labctl.language import _

ETH_P_ALL = 0x0003
SOL_PACKET, ADD_MEMBERSHIP, STATISTICS, PROMISCUOUS = 263, 1, 6, 1
BUFFER = 4 << 20  # bytes that the kernel keeps while nobody reads
WRITE_SECONDS = 5.0  # between two writings of a table that has grown: a crash loses so much
READS = 512  # frames that are read from one bridge before another one has its turn
MEMBERSHIP = struct.Struct("=iHH8s")


@dataclass
class Watched:
    """One bridge: where its frames come from, what was counted, and the file that tells it."""

    path: Path
    source: socket.socket
    table: FlowTable = field(default_factory=FlowTable)
    written: int = -1  # packets at the last writing


def open_bridge(bridge: str) -> socket.socket:
    """Return a socket to all frames of a bridge. Raises OSError: without the right to it, or where it is not there."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        found.bind((bridge, ETH_P_ALL))
        number = socket.if_nametoindex(bridge)
        found.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, MEMBERSHIP.pack(number, PROMISCUOUS, 0, b""))
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


class FlowWatch:
    """Watches bridges in a thread of its own, until it is left. A context manager.

    `bridges` maps each candidate's file to the bridge of their Internet network. `unseen` says of which one nothing
    can be told, and why.
    """

    def __init__(
        self, bridges: Mapping[Path, str], opener: Callable[[str], socket.socket] = open_bridge,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.unseen: dict[Path, str] = {}
        self._clock = clock
        self._watched: list[Watched] = []
        for path, bridge in bridges.items():
            try:
                watched = Watched(path, opener(bridge))
            except OSError as exc:
                self.unseen[path] = _("the network {bridge} cannot be watched: {reason}").format(
                    bridge=bridge, reason=exc.strerror or exc
                )
                continue
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                watched.table.take_over(json.loads(path.read_bytes()))
            self._watched.append(watched)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._work, name="flows", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()
        for watched in self._watched:
            watched.source.close()

    def _work(self) -> None:
        with selectors.DefaultSelector() as waiting:
            for watched in self._watched:
                waiting.register(watched.source, selectors.EVENT_READ, watched)
            due = time.monotonic() + WRITE_SECONDS
            while not self._leaving.is_set():
                ready = waiting.select(0.2)
                for key, _events in ready:
                    self._read(key.data)
                if time.monotonic() >= due:
                    self._write()
                    due = time.monotonic() + WRITE_SECONDS
            for watched in self._watched:
                self._read(watched)
        self._write()

    def _read(self, watched: Watched) -> None:
        for _turn in range(READS):
            try:
                # MSG_TRUNC: the true length of the frame, of which only the head is copied
                frame = bytearray(SEEN_BYTES)
                length = watched.source.recv_into(frame, SEEN_BYTES, socket.MSG_TRUNC)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # the bridge went down with its lab: what was counted stays
                return
            if length == 0:
                return
            watched.table.add(bytes(frame[:length]), length, self._clock())

    def _write(self) -> None:
        for watched in self._watched:
            watched.table.lost += read_lost(watched.source)
            if watched.table.packets == watched.written:
                continue
            with suppress(OSError):  # a full disk is told elsewhere; the next writing has all that this one would have
                watched.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_durably(watched.path, json.dumps(watched.table.dump()).encode())
                watched.written = watched.table.packets


def read_lost(source: socket.socket) -> int:
    """Return how many frames the kernel dropped since it was asked last; nothing of a socket of another kind."""
    try:
        _seen, dropped = struct.unpack("=II", source.getsockopt(SOL_PACKET, STATISTICS, 8))
    except OSError:
        return 0
    return int(dropped)
