"""A saved state and another head for it to a path that libvirt can restore from: a FIFO, a shared copy or a copy."""

import errno
import fcntl
import os
import select
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from labctl.errors import LabctlError
from labctl.language import _

PREFIX = ".restore-"
CHUNK = 1 << 20  # bytes moved by one call, and the size of the pipe
FICLONE = 0x40049409  # ioctl_ficlone(2)
LOOK_SECONDS = 0.002  # a FIFO tells no writer that a reader has come


class Delivery(StrEnum):
    """How a rewritten saved state reaches libvirt: streamed, as a copy that shares its blocks, or as a full copy."""

    FIFO = "fifo"
    REFLINK = "reflink"
    COPY = "copy"


@contextmanager
def deliver(
    saved: Path, head: bytes, payload_offset: int, delivery: Delivery, *, opened_twice: bool = False
) -> Iterator[Path]:
    """Yield a path that reads as `head`, then the saved file from `payload_offset` on; it is gone afterwards.

    `opened_twice` says that the reader opens it for the head, closes it and opens it again for all. The path
    lies beside the saved file and belongs to the same user: who could restore the one can restore the other.
    Raises LabctlError where this file system cannot do it.
    """
    path = saved.with_name(f"{PREFIX}{os.getpid()}-{threading.get_native_id()}")
    make = {Delivery.FIFO: _stream, Delivery.REFLINK: _share, Delivery.COPY: _copy}[delivery]
    try:
        with make(_Order(saved, head, payload_offset, path, opened_twice)):
            yield path
    finally:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what deliveries of processes that are no more left behind in a folder."""
    for path in folder.glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Order:
    saved: Path
    head: bytes
    payload_offset: int
    path: Path
    opened_twice: bool

    def failed(self, exc: OSError) -> LabctlError:
        text = _('the saved state "{path}" cannot be prepared for a restore: {reason}')
        hint = f"df -h {self.saved.parent}" if exc.errno in {errno.ENOSPC, errno.EDQUOT} else f"ls -l {self.saved}"
        return LabctlError(text.format(path=self.saved, reason=exc.strerror), hint=hint)

    def give(self, path: Path) -> None:
        """Let only those who may read the saved state read what is made of it."""
        owner = self.saved.stat()
        with suppress(PermissionError):  # not root: then it is ours, and libvirt's daemon reads it as root
            os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def _copy(order: _Order) -> Iterator[None]:
    def fill(source: int, target: int) -> None:
        os.write(target, order.head)
        position = order.payload_offset
        while moved := os.sendfile(target, source, position, CHUNK):
            position += moved

    _write(order, fill)
    yield


@contextmanager
def _share(order: _Order) -> Iterator[None]:
    def fill(source: int, target: int) -> None:
        if len(order.head) != order.payload_offset:  # blocks are shared where they are
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        fcntl.ioctl(target, FICLONE, source)
        os.pwrite(target, order.head, 0)

    _write(order, fill)
    yield


def _write(order: _Order, fill: Callable[[int, int], None]) -> None:
    try:
        with order.saved.open("rb") as source:
            target = os.open(order.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                fill(source.fileno(), target)
            finally:
                os.close(target)
        order.give(order.path)
    except OSError as exc:
        raise order.failed(exc) from exc


@contextmanager
def _stream(order: _Order) -> Iterator[None]:
    try:
        source = order.saved.open("rb")
    except OSError as exc:
        raise order.failed(exc) from exc
    with source:
        feeder = _Feeder(order, source.fileno())
        try:
            feeder.start()
        except OSError as exc:
            raise order.failed(exc) from exc
        try:
            yield
        except Exception as exc:
            feeder.stop()
            if feeder.failure is not None:  # the reader saw a stream that ends: this is why
                raise order.failed(feeder.failure) from exc
            raise
        finally:
            feeder.stop()


@dataclass
class _Feeder:
    """A thread that writes the stream to whoever opens the FIFO, until `stop`.

    Two readers of one FIFO could take each other's bytes, so each gets a FIFO of its own with the whole
    stream. Where a second one is expected, its FIFO takes the first one's place as soon as that has been
    opened, before anything is written to it. The last one stays where it is: AppArmor looks a descriptor
    that QEMU inherits up by the name of its file.
    """

    order: _Order
    source: int
    failure: OSError | None = None
    _end: threading.Event = field(default_factory=threading.Event)
    _wake: int = -1  # an eventfd: ends a poll

    def start(self) -> None:
        """Make the first FIFO and wait for its reader."""
        self._make_fifo()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name=f"feed {self.order.path.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, whatever it waits for."""
        if self._wake < 0:
            return
        self._end.set()
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)
        self._wake = -1

    def _run(self) -> None:
        readers = 2 if self.order.opened_twice else 1
        try:
            while readers and (pipe := self._await_reader()) is not None:
                try:
                    if readers > 1:
                        self._make_fifo()
                    self._feed(pipe)
                    self._drain(pipe)
                except BrokenPipeError:  # the reader wanted the head only, or failed; it may come again
                    if readers == 1:
                        self._make_fifo()
                        continue
                finally:
                    os.close(pipe)
                readers -= 1
        except OSError as exc:
            self.failure = exc
            self.order.path.unlink(missing_ok=True)  # nobody is to wait here for a writer

    def _make_fifo(self) -> None:
        fresh = self.order.path.with_name(f"{self.order.path.name}-next")
        os.mkfifo(fresh, 0o600)
        self.order.give(fresh)
        fresh.replace(self.order.path)

    def _await_reader(self) -> int | None:
        """Return the FIFO open for writing once somebody reads it, None when we are to stop."""
        while not self._end.wait(LOOK_SECONDS):
            try:
                return os.open(self.order.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as exc:
                if exc.errno != errno.ENXIO:  # fifo(7): no reader yet
                    raise
        return None

    def _feed(self, pipe: int) -> None:
        with suppress(OSError):  # a larger pipe than usual means fewer turns; without the right to it there are more
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, CHUNK)
        poll = select.poll()
        poll.register(pipe, select.POLLOUT)
        poll.register(self._wake, select.POLLIN)
        head, position = memoryview(self.order.head), self.order.payload_offset
        while not self._end.is_set():
            try:
                if head:
                    head = head[os.write(pipe, head) :]
                    continue
                moved = self._move(pipe, position)
            except BlockingIOError:
                poll.poll()
                continue
            if not moved:
                return
            position += moved

    def _drain(self, pipe: int) -> None:
        """Return once all was read. Raises BrokenPipeError where the reader left before."""
        poll = select.poll()
        poll.register(pipe, 0)  # POLLERR, the reader left, is always told
        while not self._end.wait(LOOK_SECONDS) and fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)) != bytes(4):
            if poll.poll(0):
                raise BrokenPipeError

    def _move(self, pipe: int, position: int) -> int:
        """Hand the next pages of the file to the pipe, inside the kernel; return how many bytes."""
        return os.splice(self.source, pipe, CHUNK, offset_src=position, flags=os.SPLICE_F_NONBLOCK)
