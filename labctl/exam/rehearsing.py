"""A fault that happens in a rehearsal, so that a room has something to deal with; refused in a session that counts.

Each is a thing that rooms have met, and leaves what a real one leaves: the code that finds and mends it is not told.
"""

import os
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from labctl.errors import Refused
from labctl.exam.acts import refuse_no_reason
from labctl.exam.audit import Act, Step
from labctl.exam.conduct import Conduct, begin
from labctl.exam.doors import Faults
from labctl.exam.freezing import facts_of, stop_machines
from labctl.exam.rules import refuse_stage
from labctl.exam.session import find_session
from labctl.exam.standing import CandidateStanding, Stage, Standing
from labctl.exam.supervise import read_beat
from labctl.language import _
from labctl.process import lives


class Fault(StrEnum):
    """What happens, as the log calls it."""

    POWER_CUT = "power cut"
    CABLE_OUT = "cable pulled"
    CABLE_IN = "cable plugged in"
    SUPERVISOR = "supervisor killed"
    FREEZE = "freeze broken off"


def refuse_counting(standing: Standing, name: str) -> None:
    """Raise Refused in a session that counts, and where no work has begun or all is over."""
    refuse_stage(standing, Act.PAUSE, name)
    if not standing.rehearsal:
        raise Refused(_("faults are for rehearsals; this session counts"), hint=f"labctl exam status {name}")


def break_machine(conduct: Conduct, faults: Faults, fault: Fault, number: str, node: str, reason: str) -> None:
    """Let a candidate's machine lose its power or its cables, or get these back. Raises LabctlError for another's."""
    said, session = refuse_no_reason(reason), conduct.session
    standing = session.read()
    refuse_counting(standing, session.name)
    one = standing.candidate(number)
    faults.refuse_no_machine(one.lab, node)
    acts: dict[Fault, Callable[[], None]] = {
        Fault.POWER_CUT: lambda: faults.cut_power(one.lab, node),
        Fault.CABLE_OUT: lambda: faults.set_cables(one.lab, node, up=False),
        Fault.CABLE_IN: lambda: faults.set_cables(one.lab, node, up=True),
    }
    session.note(Act.INCIDENT, number, reason=said, fault=fault, node=node)
    acts[fault]()


def kill_supervisor(conduct: Conduct, home: Path, reason: str) -> int:
    """End the supervisor as `kill -9` does, and return its process; no machine freezes by itself until there is one.

    Raises Refused where there is none, and where it keeps the time of somebody whose exam counts.
    """
    said, session = refuse_no_reason(reason), conduct.session
    refuse_counting(session.read(), session.name)
    beat = read_beat(home)
    if beat is None or not lives(beat.pid, beat.born):
        raise Refused(_("no supervisor is at work"), hint="labctl exam supervise")
    for name in beat.sessions:
        other = find_session(home, name).read()
        if not other.rehearsal and other.stage is Stage.STARTED:
            text = _('the supervisor keeps the time of the session "{name}" too, which counts')
            raise Refused(text.format(name=name), hint=f"labctl exam status {name}")
    handle = os.pidfd_open(beat.pid)
    try:
        if not lives(beat.pid, beat.born):  # the handle is of whoever has that number now
            raise Refused(_("no supervisor is at work"), hint="labctl exam supervise")
        session.note(Act.INCIDENT, "", reason=said, fault=Fault.SUPERVISOR, pid=beat.pid)
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
    return beat.pid


def break_freeze(conduct: Conduct, number: str, reason: str) -> None:
    """Begin to freeze a candidate's work, and stop before the copy, as a labctl does that is killed.

    The supervisor takes it up, or whoever says `freeze` again. Raises Refused for somebody who has not begun to work,
    or is frozen.
    """
    said, session = refuse_no_reason(reason), conduct.session
    standing = session.read()
    refuse_counting(standing, session.name)
    one: CandidateStanding = standing.candidate(number)
    if one.practical is None or not one.running:
        text = _("the machines of the candidate {number} do not work now: there is nothing to freeze")
        raise Refused(text.format(number=number), hint=f"labctl exam status {session.name}")
    with begin(conduct, Act.FREEZE, [number], lambda one: facts_of(one, said, run_on=False)) as run:
        if number in run.results:
            raise Refused(run.results[number].reason, hint=f"labctl exam status {session.name}")
        with session.writing() as log:
            log.add(Act.INCIDENT, Step.NOTED, number, reason=said, fault=Fault.FREEZE)
        run.each(lambda meant: stop_machines(conduct, meant))
