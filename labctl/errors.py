"""The errors that labctl tells people about, and the exit code of each.

    LabctlError (1)
    ├── InvalidFile (3)      a topology, roster or scenario has problems
    ├── PartlyDone (4)       some nodes or labs are ready, some are not
    ├── Busy (5)             another run works on the same lab
    ├── Refused (6)          a safety rule or the capacity forbids it
    ├── HostNotReady (7)     libvirt, QEMU or a program of the host is missing
    ├── DeadlineMissed (1)   a wait ended without what it waited for
    └── Interrupted (130)    stopped by a person; the same command resumes

Library code raises these and never prints or exits; the command line does both.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns; documented for scripts and stable."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INVALID = 3
    PARTLY = 4
    BUSY = 5
    REFUSED = 6
    HOST_NOT_READY = 7
    CHANGES_PENDING = 8
    NOT_CHECKED = 9
    INTERRUPTED = 130


class LabctlError(Exception):
    """A failure told in one sentence, with a command to type as the hint.

    Both texts are already in the reader's language.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidFile(LabctlError):
    """A file that a person wrote has problems; the message shows them all."""

    exit_code = ExitCode.INVALID


class PartlyDone(LabctlError):
    """Some nodes or labs are ready, the others are named in the message."""

    exit_code = ExitCode.PARTLY


class Busy(LabctlError):
    """Another run holds the lab: the message says who, since when, and its pid."""

    exit_code = ExitCode.BUSY


class Refused(LabctlError):
    """Doing it would break a safety rule or exceed the host."""

    exit_code = ExitCode.REFUSED


class HostNotReady(LabctlError):
    """Something that the host must provide is missing or stopped."""

    exit_code = ExitCode.HOST_NOT_READY


class DeadlineMissed(LabctlError):
    """A wait reached its deadline; the message names what was waited for."""


class Interrupted(LabctlError):
    """A person stopped the run; the state is as good as after a crash."""

    exit_code = ExitCode.INTERRUPTED
