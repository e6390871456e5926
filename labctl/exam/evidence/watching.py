"""A session under way to what watches the Internet networks of its labs, where the exam wants their flows kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labctl.errors import LabctlError
from labctl.exam.evidence.capture import FlowWatch
from labctl.exam.evidence.sources import flows_files
from labctl.exam.papers import open_papers
from labctl.exam.session import Session
from labctl.exam.standing import Stage
from labctl.lab.workplace import Workplace
from labctl.monitor import Event, Monitor, Progress


def find_bridges(place: Workplace, session: Session, shipped: Path) -> dict[Path, str]:
    """Return the bridge of each file of flows: none where no network leads out, or the exam keeps no flows.

    Raises LabctlError where papers are sealed.
    """
    standing = session.read()
    if standing.stage is not Stage.STARTED:
        return {}
    template, _values = open_papers(session, shipped)
    paper = template.resolve(place.catalogue)
    if not paper.exam.evidence.flows:
        return {}
    labs = [one for one in standing.candidates.values() if not one.closed]
    found = (flows_files(session.folder, one.owner, place.layout(one.lab, paper.topology)) for one in labs)
    return {path: bridge for files in found for path, bridge in files.values()}


@contextmanager
def watch_flows(place: Workplace, session: Session, shipped: Path, monitor: Monitor) -> Iterator[None]:
    """Count the flows of a session's labs inside the block; what cannot be watched is told, and holds nothing up."""
    try:
        bridges = find_bridges(place, session, shipped)
    except LabctlError as exc:
        monitor.tell(Event(session.name, "flows", Progress.FAILED, exc.message))
        bridges = {}
    if not bridges:
        yield
        return
    with FlowWatch(bridges) as watch:
        for reason in watch.unseen.values():
            monitor.tell(Event(session.name, "flows", Progress.FAILED, reason))
        yield
