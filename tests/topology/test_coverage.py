"""What serves a competency is counted once, under the id that was named, lab by lab."""

from collections.abc import Sequence
from functools import cache

import pytest
from pydantic import TypeAdapter

from labctl.competencies import load_competencies
from labctl.topology.coverage import Coverage, Extent, Share, cover, parts_of, share_of
from labctl.topology.faults import Fault
from labctl.topology.load import load_topology
from labctl.topology.model import Check, Topology
from tests.topology.known import GOOD, known

TEXT = {"en": "Yes", "fr": "Oui"}


def check(name: str, competency: str) -> Check:
    return TypeAdapter(Check).validate_python({
        "id": name, "title": TEXT, "from": "web", "probe": {"type": "ping", "to": "10.0.0.254"},
        "competency": competency, "pass": TEXT, "fail": TEXT,
    })  # fmt: skip


def fault(name: str, *competencies: str) -> Fault:
    return TypeAdapter(Fault).validate_python({
        "id": name, "title": TEXT, "node": "web", "competencies": competencies, "ticket": TEXT, "inject": "true",
        "detect": {"type": "ping", "to": "10.0.0.254"}, "fixed": ("ping",), "cure": "true",
    })  # fmt: skip


@cache
def good() -> Topology:
    return load_topology(GOOD, known())


def lab(name: str, announced: Sequence[str], checks: Sequence[Check] = (), faults: Sequence[Fault] = ()) -> Topology:
    return good().model_copy(
        update={"name": name, "competencies": tuple(announced), "checks": tuple(checks), "faults": tuple(faults)}
    )


def coverage_of(name: str, *labs: Topology) -> Coverage:
    return cover(labs, load_competencies())[name]


def test_no_lab_covers_nothing() -> None:
    coverage = cover([], load_competencies())
    assert list(coverage) == list(load_competencies())
    assert {one.extent for one in coverage.values()} == {Extent.GAP}
    assert share_of(coverage, "B2") == Share(0, 17)
    assert share_of(coverage, "B3") == Share(0, 21)


def test_checks_and_faults_are_kept_lab_by_lab_in_their_order() -> None:
    first = lab("first", ["B2.2.1"], [check("b", "B2.2.1"), check("a", "B2.2.1"), check("c", "B2.3.4")])
    second = lab("second", [], [check("b", "B2.2.1")], [fault("stopped", "B2.3.4", "B2.2.1")])
    found = coverage_of("B2.2.1", first, second)
    assert found.labs == ("first", "second")
    assert found.checks == {"first": ("b", "a"), "second": ("b",)}
    assert found.faults == {"second": ("stopped",)}
    assert coverage_of("B2.3.4", first, second).checks == {"first": ("c",)}


@pytest.mark.parametrize(
    ("announced", "checks", "faults", "extent"),
    [
        (["B2.2.1"], [], [], Extent.ANNOUNCED),
        ([], ["B2.2.1"], [], Extent.COVERED),
        ([], [], ["B2.2.1"], Extent.COVERED),
        (["B2.2.2"], ["B2.2.2"], ["B2.2"], Extent.GAP),
    ],
    ids=["announced", "checked", "broken", "of another competency"],
)
def test_an_announcement_alone_covers_nothing(
    announced: list[str], checks: list[str], faults: list[str], extent: Extent
) -> None:
    one = lab("one", announced, [check("a", name) for name in checks], [fault("a", name) for name in faults])
    assert coverage_of("B2.2.1", one).extent is extent


def test_naming_a_whole_competency_covers_none_of_its_parts() -> None:
    coverage = cover([lab("one", ["B2"], [check("a", "B2.2")])], load_competencies())
    assert coverage["B2.2"].extent is Extent.COVERED
    assert coverage["B2"].extent is Extent.ANNOUNCED
    assert {one.extent for one in parts_of(coverage, "B2")} == {Extent.GAP}
    assert share_of(coverage, "B2") == Share(0, 17)


def test_a_share_counts_covered_parts_and_not_announced_ones() -> None:
    one = lab("one", ["B2.1.1", "B2.2.1"], [check("a", "B2.2.1"), check("b", "B3.5.4"), check("c", "B2.2.1")])
    coverage = cover([one], load_competencies())
    assert share_of(coverage, "B2") == Share(1, 17)
    assert share_of(coverage, "B3") == Share(1, 21)
    assert share_of(coverage, "B1") == Share(0, 22)
