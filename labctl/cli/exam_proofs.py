"""What the verbs of a session prove labs with, and what is proven once the work has begun."""

import os

import click

from labctl.cli.workplace import open_hypervisor
from labctl.crew import Crew
from labctl.errors import LabctlError
from labctl.exam.audit import Act
from labctl.exam.conduct import Became, Conduct, Results
from labctl.exam.doors import Proof
from labctl.exam.proofs import LabProofs, SessionPapers
from labctl.exam.session import Session
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Monitor, Silent
from labctl.shipped import shipped_folder

PROBED_TOGETHER = 2  # labs; the machines have just been given to those who are examined


def make_proofs(place: Workplace, session: Session, monitor: Monitor) -> LabProofs:
    """Return what proves things of the labs of a session."""
    papers = SessionPapers(session, place.catalogue, shipped_folder("topologies"))
    return LabProofs(place, session, papers, monitor)


def probe_started(conduct: Conduct, results: Results) -> None:
    """Probe from inside each lab that has begun, write down what was found, and warn of what must not be."""
    begun = [number for number, result in results.items() if result.became is Became.DONE]
    if not begun:
        return
    with open_hypervisor() as machines, Crew(max_workers=PROBED_TOGETHER) as crew:
        proofs = make_proofs(Workplace.open(machines, os.environ), conduct.session, Silent())
        asked = {number: crew.submit(probe_one, proofs, number) for number in begun}
        for number, done in asked.items():
            proof = done.result()
            holds = {True: "holds", False: "does not hold", None: "not checked"}[proof.holds]
            conduct.session.note(Act.ISOLATION, number, result=holds, reason=proof.reason, **proof.facts)
            if proof.holds is not True:
                text = _("Warning: isolation of {number}: {reason}").format(number=number, reason=proof.reason)
                click.secho(text, err=True, fg="red" if proof.holds is False else "yellow")


def probe_one(proofs: LabProofs, number: str) -> Proof:
    """Return what was found from inside one lab; one that cannot be asked says why, and holds nobody back."""
    try:
        return proofs.isolated(number, started=True)
    except LabctlError as exc:
        return Proof(None, exc.message)
