"""What a machine says by its serial port, to how far its installation is: the guest's own markers, and nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from labctl.checks.lines import printable
from labctl.errors import LabctlError
from labctl.language import _

MARKER, LOG, END = "@labctl ", "@labctl-log ", "@labctl-end"
LONGEST_LOG = 2000  # lines of logs that are kept
LONGEST_LINE, LONGEST_REASON = 4000, 500  # letters


class Phase(StrEnum):
    """The phases of an installation, in order; a machine only goes forward."""

    START = "start"  # the firmware, and the disc's own loader
    SETUP = "setup"  # Setup has found its answers and copies Windows
    SPECIALIZE = "specialize"
    CONFIGURE = "configure"  # drivers, guest agent, OpenSSH
    GENERALIZE = "generalize"  # sysprep
    SEALED = "sealed"  # sysprep says that all is well; the machine switches itself off


ORDER = tuple(Phase)
# Seconds that a phase may take with hardware acceleration. Generous: a wait that ends too early costs an hour.
DEADLINES: Mapping[Phase, float] = {
    # The first word comes from Windows PE: where its port stays silent, the next one comes when Windows is copied.
    Phase.START: 3600, Phase.SETUP: 3600, Phase.SPECIALIZE: 2400, Phase.CONFIGURE: 2400, Phase.GENERALIZE: 1800,
    Phase.SEALED: 600,
}  # fmt: skip


@dataclass
class Installation:
    """One installation as far as it has told: its phase, facts about the Windows, and the logs that it sent."""

    phase: Phase = Phase.START
    facts: dict[str, str | int] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    in_log: bool = False

    def read(self, line: str) -> bool:
        """Take in a line and return whether it began a phase. Raises LabctlError where the machine gives up.

        Whatever is not a marker of ours is passed over: firmware and loaders write here too.
        """
        if self.in_log:
            self.read_log(line)
            return False
        start = line.find(LOG)
        if start >= 0:
            self.in_log = True
            self.logs.append(printable(line[start + len(LOG) :].strip()))
            return False
        start = line.find(MARKER)
        if start < 0:
            return False
        try:
            told = json.loads(line[start + len(MARKER) :])
        except ValueError:
            return False  # cut by a restart of the machine
        return self.take(told) if isinstance(told, dict) else False

    def read_log(self, line: str) -> None:
        """Keep a line of a log that the machine sends."""
        if END in line:
            self.in_log = False
        elif len(self.logs) < LONGEST_LOG:
            self.logs.append(f"  {printable(line, LONGEST_LINE)}")

    def take(self, told: Mapping[str, object]) -> bool:
        """Take in what a marker says."""
        if "failed" in told:
            text = _("the installation failed in the machine: {said}")
            raise LabctlError(text.format(said=printable(str(told["failed"]), LONGEST_REASON)))
        facts = told.get("facts")
        if isinstance(facts, dict):
            known = {printable(str(name)): value for name, value in facts.items() if isinstance(value, str | int)}
            self.facts |= {name: printable(one) if isinstance(one, str) else one for name, one in known.items()}
        word = told.get("phase")
        if word not in ORDER:
            return False
        phase = Phase(str(word))
        if ORDER.index(phase) <= ORDER.index(self.phase):
            # It starts from the disc once more, or a phase has begun anew: that would go on for ever.
            text = _('the installation has begun anew: it was in the phase "{phase}" and went back to "{back}"')
            raise LabctlError(text.format(phase=self.phase, back=phase))
        self.phase = phase
        return True
