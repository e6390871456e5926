"""The recette before and after the work: what must pass does, what is to be done is not done yet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from labctl.checks.model import Question, Reply
from labctl.checks.names import MARK
from labctl.exam.model import Start
from labctl.exam.recette import (
    Moment,
    count_results,
    judge_start,
    load_results,
    recette_of,
    results_file,
    run_recette,
    save_results,
)
from labctl.monitor import Silent
from labctl.report.sheet import Status
from labctl.topology.hardware import System
from tests.exam.papers import good_paper


class Answering:
    """Machines whose checks of these ids do not pass, or cannot be made."""

    def __init__(self, failing: Sequence[str] = (), silent: Sequence[str] = ()) -> None:
        self.failing, self.silent = failing, silent

    def probe(self, node: str, questions: Sequence[Question]) -> Sequence[Reply]:  # noqa: ARG002
        return [self.answer(one.check) for one in questions]

    def answer(self, check: str) -> Reply:
        if check in self.silent:
            return Reply(error="no answer")
        status = 404 if check in self.failing else 200
        return Reply(code=1 if status == 404 and check in KEPT else 0, out=f"page\n{MARK}{status} 1 ", seconds=0.1)

    def address(self, node: str) -> str:
        return node

    def system(self, _node: str) -> System:
        return System.DEBIAN


EXPECTED = recette_of(good_paper())
TO_DO = [one.check.id for one in EXPECTED if one.start is Start.FAILS]
KEPT = [one.check.id for one in EXPECTED if one.start is Start.PASSES]


def judged(prober: Answering) -> tuple[bool | None, str, Mapping[str, object]]:
    outcomes = run_recette(EXPECTED, prober, Silent(), Moment.START)
    proof = judge_start(EXPECTED, outcomes)
    return proof.holds, proof.reason, proof.facts


def test_the_paper_has_both_kinds() -> None:
    assert TO_DO
    assert KEPT


def test_an_initial_state_that_is_right() -> None:
    holds, reason, facts = judged(Answering(failing=TO_DO))
    assert holds is True
    assert not reason
    assert facts["wrong"] == []


def test_what_is_done_before_anything_is_done_is_wrong() -> None:
    holds, reason, _facts = judged(Answering())
    assert holds is False
    assert TO_DO[0] in reason


def test_what_must_pass_and_fails_is_wrong() -> None:
    holds, reason, _facts = judged(Answering(failing=[*TO_DO, KEPT[0]]))
    assert holds is False
    assert KEPT[0] in reason


def test_what_could_not_be_checked_is_neither() -> None:
    holds, reason, facts = judged(Answering(failing=TO_DO, silent=[KEPT[0]]))
    assert holds is None
    assert KEPT[0] in reason
    assert facts["wrong"] == []
    assert judged(Answering(failing=[*TO_DO, *KEPT[1:]], silent=[KEPT[0]]))[0] is (False if KEPT[1:] else None)


def test_results_are_kept_with_their_proofs_and_read_again(tmp_path: Path) -> None:
    outcomes = run_recette(EXPECTED, Answering(failing=[TO_DO[0]]), Silent(), Moment.END)
    path = results_file(tmp_path, "c001", Moment.END)
    content = save_results(path, outcomes, EXPECTED, "2027-05-18T08:00:00Z")
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o077 == 0
    found = load_results(path)
    assert list(found) == [one.check.id for one in EXPECTED]
    assert found[TO_DO[0]].status is Status.FAILED
    assert load_results(tmp_path / "nothing") == {}
    facts = count_results(EXPECTED, outcomes)
    assert facts["failed"] == 1
    assert facts["passed"] == len(EXPECTED) - 1
    assert facts["points"] == sum(one.check.points for one in EXPECTED if one.check.id != TO_DO[0])
