"""Which documents are wanted, what they are called, and whose name reaches which of them."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.exam.documents.making import OF_ONE, Kind, Maker, Own, Wanted
from labctl.exam.documents.person import Names
from labctl.exam.documents.proctor import Checksums
from labctl.exam.documents.recette import Proof
from labctl.exam.purge import purge_candidate
from labctl.exam.standing import CandidateStanding, Standing
from labctl.topology.model import Topology
from tests.exam.documents.papers import VALUES, drawn_paper, results
from tests.exam.documents.stories import NAMES, START, over
from tests.exam.sessions import HandClock, make_session
from tests.topology.known import known


@dataclass(frozen=True)
class Shelf:
    """Everything is there, for everybody the same."""

    def own(self, candidate: CandidateStanding) -> Own:
        assert candidate.number
        return Own(drawn_paper(), VALUES)

    def topology(self) -> Topology:
        return drawn_paper().topology

    def proof(self, candidate: CandidateStanding) -> Proof:
        return Proof(results() if candidate.number == "0101" else {})

    def checksums(self, standing: Standing) -> Checksums:
        return Checksums(head=standing.head)


def maker(address: str = "") -> Maker:
    made = START + timedelta(hours=4)
    return Maker("e6-2027", over().standing, Shelf(), known(), made, Names(NAMES), address)


def files(kinds: list[Kind], numbers: list[str]) -> list[str]:
    return [one.file_name("fr", "pdf") for one in maker().choose(kinds, numbers)]


def test_all_documents_have_names_of_their_own() -> None:
    names = files([], [])
    assert len(names) == len(set(names)) == 3 * 3 + 3
    assert {"candidate-c0101.fr.pdf", "recette-c0102.fr.pdf", "proctor.fr.pdf", "annex.fr.pdf"} <= set(names)


def test_a_candidate_is_chosen_without_the_sheets_of_everybody() -> None:
    assert files([], ["0102"]) == ["candidate-c0102.fr.pdf", "recette-c0102.fr.pdf", "questions-c0102.fr.pdf"]
    assert files([Kind.PROCTOR, Kind.RECETTE], ["0102", "0102"]) == ["proctor.fr.pdf", "recette-c0102.fr.pdf"]


def test_an_unknown_candidate_is_an_error() -> None:
    with pytest.raises(LabctlError, match="0999"):
        files([], ["0999"])


@pytest.mark.parametrize("language", ["fr", "en"])
def test_names_are_on_every_document_of_the_jury_and_on_no_other(language: str) -> None:
    made = maker("https://labctl.example")
    wanted = [*made.choose([], ["0101"]), *made.choose([Kind.PROCTOR, Kind.INCIDENTS, Kind.ANNEX], [])]
    pages = {one.kind: made.render(one, language) for one in wanted}
    with_name = {kind for kind, page in pages.items() if "Ada Lovelace" in page}
    assert with_name == {Kind.PROCTOR, Kind.RECETTE, Kind.QUESTIONS, Kind.INCIDENTS}
    assert pages.keys() == set(Kind)
    assert "https://labctl.example" in pages[Kind.CANDIDATE]


def test_documents_of_one_candidate_go_and_those_of_others_stay(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock(), 3)
    for one in session.read().candidates.values():
        for owner in (one.owner, f"a-{one.owner}"):
            for kind in OF_ONE:
                name = Wanted(kind, replace(one, owner=owner)).file_name("fr", "pdf")
                (session.documents / name).write_bytes(b"%PDF")
    purge_candidate(session, "001")
    left = {path.name for path in session.documents.iterdir()}
    assert not {name for name in left if "-c001." in name and "-a-" not in name}
    assert len(left) == 3 * 6 - 3
