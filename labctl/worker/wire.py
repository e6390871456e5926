"""Requests and answers to lines of JSON and back, within their sizes; a first line from each side says its version.

On a connection: the client sends `{"labctl": 1}`, the worker the same; then one line for each request, one for each
answer. A line that is too long, or that is no request, is refused and the connection closed.
"""

import json
from typing import Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from labctl.errors import ExitCode, LabctlError
from labctl.language import _
from labctl.worker.exam_requests import EXAM_KINDS
from labctl.worker.requests import KINDS, Ask
from labctl.worker.values import STATUS, Model, Refusal

VERSION = 1
GREETING = json.dumps({"labctl": VERSION}).encode() + b"\n"
LONGEST_GREETING = 64  # bytes
LONGEST_REQUEST = 64 << 10  # bytes; the largest one names 200 labs
LONGEST_ANSWER = 32 << 20  # bytes; the largest one is the PDF of a class, in base64

M = TypeVar("M", bound=Model)


class NotDone(LabctlError):
    """A request that was refused or failed. `wait` is after how many seconds it makes sense to try again, 0 if never.

    The message is a sentence in the reader's language, `status` the HTTP status that says the same.
    """

    def __init__(self, refusal: Refusal, message: str, hint: str = "", wait: int = 0) -> None:
        super().__init__(message, hint)
        self.refusal = refusal
        self.wait = wait

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        return STATUS[self.refusal]


NotDone.exit_code = ExitCode.REFUSED


class Reply(Model):
    """The line of an answer: either `answer`, or a refusal with its sentence."""

    ok: bool
    answer: dict[str, Any] = Field(default_factory=dict)
    refusal: Refusal | None = None
    message: str = ""
    hint: str = ""
    wait: int = 0


class Kind(Model):
    """The part of a request that says which one it is."""

    model_config = ConfigDict(extra="ignore")

    kind: str = Field(max_length=40)


def encode(model: Model) -> bytes:
    """Return a model as a line."""
    return model.model_dump_json(by_alias=True).encode() + b"\n"


def encode_answer(answer: Model) -> bytes:
    """Return the line of an answer. Raises NotDone for one that is longer than a line may be."""
    line = b'{"ok":true,"answer":' + answer.model_dump_json().encode() + b"}\n"
    if len(line) > LONGEST_ANSWER:
        raise NotDone(Refusal.TOO_LARGE, _("the answer is too large"))
    return line


def encode_refusal(error: NotDone) -> bytes:
    """Return the line of a refusal."""
    reply = Reply(ok=False, refusal=error.refusal, message=error.message, hint=error.hint, wait=error.wait)
    return encode(reply)


def decode_request(line: bytes) -> Ask[Any]:
    """Return the request of a line. Raises NotDone, which does not repeat what was sent: it may be secret."""
    try:
        kind = Kind.model_validate_json(line).kind
        return {**KINDS, **EXAM_KINDS}[kind].model_validate_json(line)
    except KeyError as exc:
        raise NotDone(Refusal.MALFORMED, _("this is no request that is known here")) from exc
    except ValidationError as exc:
        wrong = ".".join(str(part) for part in exc.errors(include_input=False)[0]["loc"][:1])
        text = _('the request has a "{field}" that cannot be used') if wrong else _("this is no request")
        raise NotDone(Refusal.MALFORMED, text.format(field=wrong[:40])) from exc


def decode_answer(line: bytes, model: type[M]) -> M:
    """Return the answer of a line. Raises NotDone for a refusal, and for an answer of another version."""
    try:
        reply = Reply.model_validate_json(line)
        if reply.ok:
            return model.model_validate(reply.answer)
    except ValidationError as exc:
        raise NotDone(Refusal.NO_WORKER, _("the worker answers in another way than this version expects")) from exc
    raise NotDone(reply.refusal or Refusal.FAILED, reply.message, reply.hint, reply.wait)
