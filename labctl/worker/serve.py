"""Requests on a Unix socket to answers: who is at the other end, whose session it is and what they may, each time.

A thread for each connection, and a limit of them: whoever holds one open costs a thread, and nobody else's answer.
"""

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from labctl.errors import Busy, HostNotReady, LabctlError, Refused
from labctl.language import _, speaking
from labctl.worker import people
from labctl.worker.answers import Event, Subscribed
from labctl.worker.candidate import CandidateRoom
from labctl.worker.events import Subscriber
from labctl.worker.gate import Gate
from labctl.worker.office import Caller, Office
from labctl.worker.own_lab import OwnLab
from labctl.worker.proctor import ProctorRoom
from labctl.worker.records import Line
from labctl.worker.requests import Ask, AskHealth, Login, OpenConsole, Subscribe
from labctl.worker.trainer import Trainer
from labctl.worker.values import Model, Refusal
from labctl.worker.wire import (
    GREETING,
    LONGEST_GREETING,
    LONGEST_REQUEST,
    NotDone,
    decode_request,
    encode,
    encode_answer,
    encode_refusal,
)

MOST = 600  # connections; 50 browsers with two tabs and some consoles are 200
PATIENCE = 10.0  # seconds for a client to send its request, or to take an answer
PULSE = 15.0  # seconds
BACKLOG = 256
LOG = logging.getLogger("labctl.worker")
Handler = Callable[[Caller, Any], Model]


class Server:
    """Serves one office on a socket, to the users of `allowed` only. `serve` returns once `stop` was called."""

    def __init__(self, office: Office, path: Path, allowed: Collection[int]) -> None:
        self.office = office
        self.path = path
        self.allowed = frozenset(allowed)
        self.gate = Gate(office)
        self.handlers = handlers_of(office, self.gate)
        self._listener = listen(path)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def serve(self) -> None:
        """Accept connections until stopped."""
        while not self._stopping.is_set():
            try:
                connection, _address = self._listener.accept()
            except OSError:
                continue
            with self._lock:
                full = len(self._open) >= MOST
                if not full:
                    self._open.add(connection)
            if full:
                connection.close()
                continue
            threading.Thread(target=self._serve_one, args=(connection,), name="request", daemon=True).start()

    def stop(self) -> None:
        """Take no more connections, and end those that are open."""
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)
        with self._lock:
            left = tuple(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve_one(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(PATIENCE)
                if peer_user(connection) in self.allowed:
                    self._talk(connection)
        except OSError:
            return  # the other side has left
        finally:
            with self._lock:
                self._open.discard(connection)

    def _talk(self, connection: socket.socket) -> None:
        connection.sendall(GREETING)
        lines = Lines(connection)
        if lines.read(LONGEST_GREETING) != GREETING:
            return
        while line := lines.read(LONGEST_REQUEST):
            if not self._answer(connection, line):
                return

    def _answer(self, connection: socket.socket, line: bytes) -> bool:
        """Answer one request; return whether the connection may carry another one."""
        if not line.endswith(b"\n"):
            connection.sendall(encode_refusal(NotDone(Refusal.TOO_LARGE, _("the request is too large"))))
            return False
        try:
            request = decode_request(line)
        except NotDone as exc:
            connection.sendall(encode_refusal(exc))
            return False
        with speaking(request.language):
            try:
                return self._do(connection, request)
            except Exception as exc:
                connection.sendall(encode_refusal(explain(exc)))
        return True

    def _do(self, connection: socket.socket, request: Ask[Any]) -> bool:
        kind = str(getattr(request, "kind", ""))
        if isinstance(request, Login):
            connection.sendall(encode_answer(people.log_in(self.office, request)))
            return True
        if isinstance(request, AskHealth):
            connection.sendall(encode_answer(people.tell_health(self.office, request)))
            return True
        caller = self.gate.identify(request, kind)
        self.gate.admit(caller, request, kind)
        if isinstance(request, Subscribe):
            self._stream(connection, caller, request)
            return False
        if isinstance(request, OpenConsole):
            with self._noting(caller, request, kind):
                self._open_console(connection, caller, request)
            return False
        with self._noting(caller, request, kind):
            answer = self.handlers[kind](caller, request)
        connection.sendall(encode_answer(answer))
        return True

    @contextmanager
    def _noting(self, caller: Caller, request: Ask[Any], kind: str) -> Iterator[None]:
        """Write into the log what the block refuses: the gate knows who may, not what there is."""
        try:
            yield
        except LabctlError as exc:
            self.gate.note_refusal(caller, kind, explain(exc).refusal, getattr(request, "lab", None) or "")
            raise

    def _stream(self, connection: socket.socket, caller: Caller, request: Subscribe) -> None:
        """Send events until the session ends, the other side leaves or lags behind."""
        labs, members = frozenset(request.labs), None
        if request.class_name is not None:
            members = {one.slug for one in self.office.accounts.classes()[request.class_name]}
        for lab in labs:
            self.gate.require_lab(caller, "lab", lab)

        seen: dict[str, tuple[float, bool]] = {}

        def may_see(lab: str, owner: str) -> bool:
            at, allowed = seen.get(owner, (0.0, False))
            if time.monotonic() - at > PULSE:  # a class under way has many events, all about the same owners
                allowed = self.gate.judge(caller, "lab", lab) is None
                seen[owner] = (time.monotonic(), allowed)
            return allowed

        def wants(lab: str, owner: str) -> bool:
            if (labs and lab not in labs) or (members is not None and owner not in members):
                return False
            return owner == caller.name or (bool(lab) and may_see(lab, owner))

        subscriber = Subscriber(caller.name, caller.session.digest, request.language, wants)
        self.office.hub.add(subscriber)
        try:
            connection.sendall(encode_answer(Subscribed(labs=tuple(sorted(labs)))))
            checked = time.monotonic()
            while (event := subscriber.next(PULSE)) is not None:
                connection.sendall(encode(event))
                if time.monotonic() - checked >= PULSE:
                    checked = time.monotonic()
                    if self.office.accounts.find_session(request.token) is None:
                        connection.sendall(encode(Event(kind="session")))
                        return
        finally:
            self.office.hub.remove(subscriber)

    def _open_console(self, connection: socket.socket, caller: Caller, request: OpenConsole) -> None:
        if self.office.consoles is None:
            raise NotDone(Refusal.HOST_NOT_READY, _("there are no consoles here"))
        verb = "console_view" if request.view_only else "console"

        def still() -> bool:
            session = self.office.accounts.find_session(request.token)
            return session is not None and self.gate.judge(caller, verb, request.lab) is None

        about = f"{request.node} {request.mode}"
        self.office.log(caller, verb, lab=request.lab, detail=about)
        if fault := self.office.consoles.serve(caller, request, connection, still):
            line = Line(caller.name, verb, request.lab, detail=f"{about} {fault}", address=caller.address, refused=True)
            self.office.note(line)


class Lines:
    """The lines of a connection, none longer than may be; what is longer is not even read to its end."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = b""

    def read(self, longest: int) -> bytes:
        """Return the next line, one without its end if it is too long, b"" at the end of the connection."""
        while b"\n" not in self.buffer[: longest + 1]:
            if len(self.buffer) > longest:
                return self.buffer[:longest]
            found = self.connection.recv(16 << 10)
            if not found:
                return b""
            self.buffer += found
        line, _newline, self.buffer = self.buffer.partition(b"\n")
        return line + b"\n"


def handlers_of(office: Office, gate: Gate) -> dict[str, Handler]:
    """Return what answers each kind of request, beside those that `Server` answers itself."""
    own, trainer = OwnLab(office, gate), Trainer(office, gate)
    candidate, proctor = CandidateRoom(office, gate), ProctorRoom(office)

    def of(handler: Callable[[Office, Caller, Any], Model]) -> Handler:
        return lambda caller, request: handler(office, caller, request)

    return {
        "whoami": of(people.whoami), "choose_password": of(people.choose_password), "logout": of(people.log_out),
        "choose_language": of(people.choose_language), "messages": of(people.show_messages),
        "accounts": of(people.show_accounts), "new_code": of(people.draw_new_code),
        "set_account": of(people.set_account), "my_labs": own.my_labs, "lab": own.show, "statement": own.statement,
        "drawing": own.drawing, "jobs": own.jobs, "feedback": own.feedback, "hint": own.hint,
        "run_checks": own.run_checks, "reset": own.reset, "checkpoint_save": own.checkpoint_save,
        "checkpoint_restore": own.checkpoint_restore, "checkpoint_remove": own.checkpoint_remove, "wake": own.wake,
        "suspend": own.suspend, "call_trainer": own.call_trainer, "answer_call": own.answer_call,
        "console_ticket": own.console_ticket, "classes": trainer.classes, "board": trainer.board,
        "forecast": trainer.forecast, "start": trainer.start, "act": trainer.act, "message": trainer.message,
        "set_end": trainer.set_end,
        "log": trainer.log, "grid": trainer.grid, "report": trainer.report,
        "exam": candidate.show, "exam_reset": candidate.reset, "exam_wake": candidate.wake, "exams": proctor.exams,
        "exam_board": proctor.board, "exam_act": proctor.act,
    }  # fmt: skip


def explain(error: Exception) -> NotDone:
    """Return the refusal for an error; a fault of ours is told without its inside, which goes to stderr."""
    match error:
        case NotDone():
            return error
        case Busy():
            return NotDone(Refusal.NOT_NOW, error.message, error.hint)
        case Refused():
            return NotDone(Refusal.NOT_NOW, error.message, error.hint)
        case HostNotReady():
            return NotDone(Refusal.HOST_NOT_READY, error.message, error.hint, wait=5)
        case LabctlError():
            return NotDone(Refusal.FAILED, error.message, error.hint)
    LOG.error("a request failed", exc_info=error)
    return NotDone(Refusal.FAILED, _("something went wrong here; the log of the service says what"))


def peer_user(connection: socket.socket) -> int:
    """Return the user id of the process at the other end, by the kernel's word."""
    size = struct.calcsize("3i")
    _pid, user, _group = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(user)


def listen(path: Path) -> socket.socket:
    """Return a listening socket at a path that any local user may connect to: who may ask is decided by their id."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o111)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return listener
