"""The words that requests and answers share: names within their limits, and the closed sets of roles and codes."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Language = Literal["fr", "en"]
LabName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
NodeName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
CheckName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
TopologyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
CheckpointName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
ClassName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
OwnerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
Token = Annotated[str, StringConstraints(max_length=128)]
Typed = Annotated[str, StringConstraints(max_length=256)]  # what a person types into one line: a name, a secret
Message = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Labs = Annotated[tuple[LabName, ...], Field(max_length=200)]
Nodes = Annotated[tuple[NodeName, ...], Field(max_length=64)]
Owners = Annotated[tuple[OwnerName, ...], Field(max_length=200)]


class Model(BaseModel):
    """What goes over the socket: frozen, and nothing that was not agreed upon."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """What somebody is here for."""

    STUDENT = "student"
    CANDIDATE = "candidate"
    TRAINER = "trainer"
    PROCTOR = "proctor"
    ADMIN = "admin"


class LabState(StrEnum):
    """The state of a lab in one word, as `labctl status` has it; `absent` has a place but no machines yet."""

    READY = "ready"
    WORKING = "working"
    PARTLY = "partly"
    STOPPED = "stopped"
    FAILED = "failed"
    SUSPENDED = "suspended"
    ABSENT = "absent"


class ConsoleMode(StrEnum):
    """How a machine is reached."""

    GRAPHICS = "graphics"
    TEXT = "text"
    SSH = "ssh"


class JobState(StrEnum):
    """How far a job is; `interrupted` is one whose worker died and that was not taken up again."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Refusal(StrEnum):
    """Why a request was not done; each has one HTTP status in `STATUS`."""

    MALFORMED = "malformed"
    LOGIN_NEEDED = "login_needed"
    WRONG_SECRET = "wrong_secret"  # noqa: S105  the name of an answer
    PASSWORD_TO_CHOOSE = "password_to_choose"  # noqa: S105  the name of an answer
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"
    NOT_NOW = "not_now"
    EXPIRED = "expired"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    TOO_SLOW = "too_slow"
    FAILED = "failed"
    HOST_NOT_READY = "host_not_ready"
    NO_WORKER = "no_worker"


STATUS = {
    Refusal.MALFORMED: 400, Refusal.LOGIN_NEEDED: 401, Refusal.WRONG_SECRET: 401, Refusal.PASSWORD_TO_CHOOSE: 403,
    Refusal.FORBIDDEN: 403, Refusal.UNKNOWN: 404, Refusal.TOO_SLOW: 408, Refusal.NOT_NOW: 409, Refusal.EXPIRED: 410,
    Refusal.TOO_LARGE: 413, Refusal.TOO_MANY: 429, Refusal.FAILED: 500, Refusal.HOST_NOT_READY: 503,
    Refusal.NO_WORKER: 503,
}  # fmt: skip
