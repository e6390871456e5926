"""Runs checks of one lab, after a reboot where that is wished for, and keeps what they found."""

from collections.abc import Sequence
from dataclasses import dataclass

from labctl.checks.model import Outcome
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.lock import hold_lab, who
from labctl.lab.rebooting import Rebooting, concerned_nodes, run_rebooted_checks
from labctl.lab.workplace import Workplace
from labctl.monitor import Monitor
from labctl.topology.model import Check, Topology


@dataclass(frozen=True)
class Wanted:
    """Which checks of one lab are to be run; with `rebooted`, those meant for after a reboot, after one."""

    lab: str
    topology: Topology
    checks: Sequence[Check]
    rebooted: bool


def check_lab(place: Workplace, wanted: Wanted, monitor: Monitor) -> tuple[Outcome, ...]:
    """Run checks of one lab and keep their outcomes. Raises Busy where machines are to be rebooted."""
    prober = SshProber(place.guests, place.logins(wanted.lab, wanted.topology))
    if wanted.rebooted:
        with hold_lab(place.home, wanted.lab, "check --after-reboot"):
            nodes = concerned_nodes(wanted.checks, wanted.topology)
            place.store.add_event(wanted.lab, who(), "reboot", ", ".join(nodes))
            rebooting = Rebooting(place.guests, prober.logins, monitor)
            outcomes = run_rebooted_checks(wanted.checks, wanted.topology, rebooting, prober)
    else:
        outcomes = run_checks(wanted.checks, prober, monitor)
    rows = [(found.check.id, str(found.result), found.to_dict("en")) for found in outcomes]
    place.store.save_outcomes(wanted.lab, rows, whole=len(wanted.checks) == len(wanted.topology.checks))
    return outcomes
