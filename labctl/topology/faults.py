"""A fault as its author wrote it: how to bring it about, how it shows, what a user says of it, and its cure."""

from typing import Annotated

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.probes import Probe
from labctl.topology.values import CompetencyId, Model, Name, Text

Script = Annotated[str, StringConstraints(min_length=1, max_length=8000)]


class FaultOnWindows(Model):
    """How the same trouble is brought about, found and repaired on Windows."""

    inject: Script = Field(description=N_("PowerShell script, run by an administrator on the node"))
    detect: Probe = Field(description=N_("succeeds on the node while the cause is there"))
    cure: Script = Field(description=N_("PowerShell script that repairs it as one would by hand"))


class Fault(Model):
    """A trouble to find and repair."""

    id: Name = Field(description=N_("name of the fault, used once"))
    title: Text = Field(description=N_("what is wrong, for trainers: it tells the answer"))
    node: Name = Field(description=N_("the node where it is brought about"))
    difficulty: int = Field(
        default=1, ge=1, le=3, description=N_("1: one clear cause; 2: several steps; 3: misleading")
    )
    competencies: tuple[CompetencyId, ...] = Field(min_length=1, description=N_("competencies that repairing it shows"))
    ticket: Text = Field(description=N_("what a user writes about it: symptoms, not causes"))
    inject: Script = Field(description=N_("shell script, run by root on the node, that brings it about for good"))
    detect: Probe = Field(description=N_("succeeds on the node while the cause is there"))
    fixed: tuple[Name, ...] = Field(
        min_length=1, description=N_("checks that fail with it and pass once it is repaired")
    )
    cure: Script = Field(description=N_("shell script, run by root on the node, that repairs it as one would by hand"))
    windows: FaultOnWindows | None = Field(
        default=None, description=N_("what is done instead where the node runs Windows: the same trouble, its way")
    )
