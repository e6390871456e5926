"""The sheet says what is known and no more; the verdict follows the rule that the sheet prints."""

from dataclasses import replace

import pytest

from labctl.competencies import load_competencies
from labctl.report.expected import describe_expected
from labctl.report.grid import Level, level_of
from labctl.report.sheet import LEAST_SHARE, Found, Ruling, Score, Status, Subject, is_essential, make_sheet, read_found
from labctl.report.words import explain_rule
from tests.report.sheets import AT, all_passed, atelier, found, grid, mixed, sheet
from tests.worlds import dmz

ESSENTIAL = {"site-https", "dmz-not-to-lan", "web-key"}  # ready, negative, block B3


def with_bad(*names: str, status: str = "failed") -> dict[str, Found]:
    return all_passed(atelier()) | {name: found(status) for name in names}


def test_everything_passed_is_accepted() -> None:
    seen = sheet(results=all_passed(atelier()))
    assert seen.verdict.ruling is Ruling.ACCEPTED
    assert (seen.total.points, seen.total.worth, seen.verdict.share) == (13, 13, 100)
    assert (seen.verdict.essential, seen.verdict.undecided) == ((), ())


def test_which_checks_are_essential() -> None:
    assert {check.id for check in atelier().checks if is_essential(check)} == ESSENTIAL


@pytest.mark.parametrize("status", ["failed", "unknown"])
@pytest.mark.parametrize("name", sorted(ESSENTIAL))
def test_nothing_makes_up_for_an_essential_check(name: str, status: str) -> None:
    verdict = sheet(results=with_bad(name, status=status)).verdict
    assert verdict.ruling is Ruling.REFUSED
    assert verdict.essential == (name,)
    assert verdict.undecided == ((name,) if status == "unknown" else ())


@pytest.mark.parametrize(
    ("bad", "ruling"),
    [
        (("fw-ssh",), Ruling.RESERVED),  # 12 of 13 points
        (("fw-ssh", "dns-site"), Ruling.RESERVED),  # 10 of 13, 76 %
        (("fw-ssh", "dns-site", "fw-nat"), Ruling.REFUSED),  # 9 of 13, 69 %
    ],
)
@pytest.mark.parametrize("status", ["failed", "unknown", "never"])
def test_the_share_of_the_points_decides_between_reservations_and_refusal(
    bad: tuple[str, ...], ruling: Ruling, status: str
) -> None:
    results = with_bad(*bad)
    if status == "never":
        results = {name: one for name, one in results.items() if name not in bad}
    else:
        results = with_bad(*bad, status=status)
    assert sheet(results=results).verdict.ruling is ruling


def test_the_share_is_that_of_the_printed_rule() -> None:
    for language in ("fr", "en"):
        assert str(LEAST_SHARE) in explain_rule(language)


def test_a_check_that_was_never_run_is_shown_as_such() -> None:
    row = next(row for row in sheet().rows if row.id == "fw-nat")
    assert row.status is Status.NOT_RUN
    assert (row.points, row.worth, row.at, row.obtained, row.command) == (0, 1, "", "", "")


def test_no_points_for_what_could_not_be_checked() -> None:
    row = next(row for row in sheet().rows if row.id == "fw-ssh")
    assert (row.status, row.points, row.worth) == (Status.UNKNOWN, 0, 1)


def test_every_point_is_in_one_competency_with_its_official_title() -> None:
    seen = sheet()
    assert [score.id for score in seen.scores] == ["B2.2.1", "B2.2.6", "B2.3.1", "B3.3.2", "B3.5.2"]
    assert sum(score.points for score in seen.scores) == seen.total.points
    assert {score.title for score in seen.scores} == {load_competencies()[score.id].title for score in seen.scores}


def test_results_of_another_topology_are_left_out() -> None:
    assert [row.id for row in sheet(results={"gone": found()}).rows] == [check.id for check in atelier().checks]


def test_results_from_before_the_reset_are_marked() -> None:
    assert sheet(made="2026-03-12T09:15:02+00:00").stale == ()
    stale = sheet(made="2026-03-12T09:15:03+00:00").stale
    assert stale == tuple(row.id for row in sheet().rows if row.at)
    assert sheet(made="nonsense").stale == ()


@pytest.mark.parametrize("evidence", [None, [], "text", 7, {}, {"seconds": "x", "seen": None, "output": ["a"]}])
def test_evidence_of_another_version_is_read_as_far_as_it_can_be(evidence: object) -> None:
    one = read_found("passed", AT, evidence)
    assert (one.status, one.seconds) == (Status.PASSED, 0.0)
    assert read_found("perfect", AT, evidence).status is Status.UNKNOWN


def test_every_check_of_the_shipped_lab_says_what_it_expects() -> None:
    for check in dmz().checks:
        english, french = (describe_expected(check, language) for language in ("en", "fr"))
        assert english
        assert french
        assert english.startswith("forbidden: ") is check.negative


def test_the_grid_adds_up() -> None:
    seen = grid()
    assert [row.subject.student for row in seen.rows] == ["Alice", "Bob", "Chloé", "David"]
    for row in seen.rows[:3]:
        assert row.total
        assert sum(cell.points for cell in row.cells if cell) == row.total.points
    assert seen.total.worth == 3 * 13
    for place, score in enumerate(seen.whole):
        cells = [row.cells[place] for row in seen.rows]
        assert score.points == sum(cell.points for cell in cells if cell)
    assert seen.rows[3].verdict is None


@pytest.mark.parametrize(
    ("points", "passed", "undecided", "level"),
    [
        (8, 4, 0, Level.FULL), (6, 3, 0, Level.MOST), (4, 2, 1, Level.HALF), (3, 1, 0, Level.SOME),
        (0, 0, 0, Level.NONE), (0, 0, 3, Level.NONE), (0, 0, 4, Level.UNDECIDED), (0, 1, 0, Level.SOME),
    ],
)  # fmt: skip
def test_the_level_of_a_cell(points: int, passed: int, undecided: int, level: Level) -> None:
    assert level_of(Score("B2.2.1", "", points, 8, passed, 4, undecided)) is level


def test_checks_without_points_count_by_their_number() -> None:
    checks = tuple(check.model_copy(update={"points": 0}) for check in atelier().checks)
    topology = atelier().model_copy(update={"checks": checks})
    results = {name: replace(one, status=Status.PASSED) for name, one in mixed().items()}
    seen = make_sheet(Subject("a-b", "b"), topology, results, "en")
    assert (seen.verdict.ruling, seen.verdict.share) == (Ruling.RESERVED, 87)


@pytest.mark.parametrize(
    ("status", "rebooted", "said"),
    [
        ("passed", False, "running — not tested after a reboot"),
        ("failed", False, "running — not tested after a reboot"),
        ("passed", True, "running"),
        ("unknown", False, "running"),
    ],
)
def test_a_check_for_after_a_reboot_says_when_there_was_none(status: str, rebooted: bool, said: str) -> None:
    topology = atelier()
    check = topology.checks[0].model_copy(update={"after_reboot": True})
    one = topology.model_copy(update={"checks": (check,)})
    kept = read_found(status, AT, {"seen": "running", "rebooted": rebooted})
    (row,) = make_sheet(Subject("x", "x"), one, {check.id: kept}, "en").rows
    assert row.obtained == said


def test_a_sheet_says_what_was_obtained_in_its_own_language() -> None:
    topology = atelier()
    one = topology.model_copy(update={"checks": topology.checks[:1]})
    evidence = {"seen": "the service does not exist", "told": {"fr": "le service n'existe pas", "en": 7}}
    found = {one.checks[0].id: read_found("failed", AT, evidence)}
    shown = {
        language: make_sheet(Subject("x", "x"), one, found, language).rows[0].obtained for language in ("fr", "en")
    }
    assert shown == {"fr": "le service n'existe pas", "en": "the service does not exist"}
    assert read_found("failed", AT, {"told": "nonsense"}).told == {}
