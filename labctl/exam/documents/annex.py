"""The topology of a session to the draft of the attestation of annex II.E, marked where it is a rehearsal."""

from labctl.exam.documents.heading import Heading
from labctl.exam.documents.page import render
from labctl.report.annex import make_annex
from labctl.report.page import name_annex, show_annex
from labctl.topology.catalogue import Catalogue
from labctl.topology.model import Topology


def render_annex(heading: Heading, topology: Topology, catalogue: Catalogue) -> str:
    """Return the draft for the machines that candidates work on."""
    annex = make_annex(topology, catalogue, heading.language)
    return render("exam_annex.html.j2", heading, title=name_annex(annex), **show_annex(annex))
