"""The papers of a session: kept as they were, and each candidate's own exam made from them."""

import json
from pathlib import Path

import pytest

from labctl.errors import Refused
from labctl.exam.audit import Act, Step
from labctl.exam.candidates import load_candidates
from labctl.exam.load import read_paper
from labctl.exam.model import Phase
from labctl.exam.papers import Source, describe, draw_values, load_papers, open_papers, write_papers
from labctl.exam.seal import open_seal, seal
from labctl.exam.session import Session, create_session
from labctl.lab.own_values import read_owned
from labctl.topology.load import read_template
from tests.exam.papers import HERE, write_exam
from tests.exam.sessions import HandClock
from tests.exam.test_seal import CHEAP, WORDS
from tests.lab.doubles import World, make_place
from tests.topology.known import known

NOWHERE = HERE / "nothing"
LIST = "number;name;time_factor\n0101;Ada Lovelace;\n0102;Bob;1.33\n0103;;4/3\n"


def make_source(folder: Path, *changes: tuple[str, str]) -> Source:
    path = write_exam(folder, *changes)
    roll = folder / "candidates.csv"
    roll.write_text(LIST, encoding="utf-8")
    template = read_paper(path, NOWHERE)
    paper = template.resolve(known())
    assert template.scenario
    return Source(path, roll, template, template.scenario, paper, load_candidates(roll, paper.exam))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return make_source(tmp_path)


@pytest.fixture
def session(tmp_path: Path, source: Source) -> Session:
    found = create_session(tmp_path, "e6", describe(source, rehearsal=True, minute=2.0), HandClock())
    write_papers(found, source)
    return found


def test_a_session_knows_times_and_no_names(session: Session) -> None:
    standing = session.read()
    assert {n: one.times[Phase.PRACTICAL].total_seconds() for n, one in standing.candidates.items()} == {
        "0101": 120, "0102": pytest.approx(159.6), "0103": 160,
    }  # fmt: skip
    assert all(one.lab == f"small-{one.owner}" for one in standing.candidates.values())
    assert b"Ada" not in session.audit.read_bytes()
    assert json.loads((session.papers / "names.json").read_bytes()) == {"0101": "Ada Lovelace", "0102": "Bob"}
    names = {path.name for path in session.papers.iterdir() if b"Ada" in path.read_bytes()}
    assert names == {"names.json"}


def test_each_candidate_has_an_exam_of_their_own_and_a_lab_that_fits_it(
    tmp_path: Path, source: Source, session: Session
) -> None:
    place = make_place(tmp_path, World())
    owners = [one.owner for one in session.read().candidates.values()]
    owned = draw_values(place, source, session, owners)
    papers = load_papers(session, place.catalogue, NOWHERE)
    values = json.loads((session.papers / "variants.json").read_bytes())
    assert list(papers) == ["0101", "0102", "0103"]
    asked = {paper.exam.demand.work[0].pick("en") for paper in papers.values()}
    assert len(asked) == 3, "no two candidates are asked for the same"
    for one in session.read().candidates.values():
        mine = owned[one.owner]
        assert mine.own
        assert mine.topology.name == "small"
        again = read_owned(place.home, read_template(source.topology_file), place.catalogue, mine.own)
        assert again == mine, "the lab alone leads to the same values"
        assert mine.values == {"asked": values[one.owner]["asked"]}
        assert str(values[one.owner]["asked"]) in papers[one.number].exam.demand.work[0].pick("en")
    assert draw_values(place, source, session, owners) == owned, "drawn once, they stay"


def test_sealed_papers_come_back_as_the_same_exams(tmp_path: Path, source: Source, session: Session) -> None:
    place = make_place(tmp_path, World())
    draw_values(place, source, session, [one.owner for one in session.read().candidates.values()])
    before = load_papers(session, place.catalogue, NOWHERE)
    with session.writing() as log:
        log.add(Act.PREPARE, Step.DONE)
    seal(session, WORDS, {}, CHEAP)
    with pytest.raises(Refused, match="are sealed") as caught:
        open_papers(session, NOWHERE)
    assert caught.value.hint == "labctl exam open e6"
    open_seal(session, WORDS, {})
    assert load_papers(session, place.catalogue, NOWHERE) == before


def test_a_topology_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "small.yml").write_bytes((HERE / "small.yml").read_bytes())
    source = make_source(tmp_path / "sub", ("topology: small.yml", "topology: ../small.yml"))
    session = create_session(tmp_path, "e6", describe(source, rehearsal=False, minute=60.0), HandClock())
    with pytest.raises(Refused, match="must lie in the folder"):
        write_papers(session, source)
