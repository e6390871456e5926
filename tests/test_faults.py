"""Which faults a seed draws, and what checks say of one: by what they saw, never by what a student says."""

import pytest
from pydantic import ValidationError

from labctl.checks.model import Outcome, Result
from labctl.errors import Refused
from labctl.faults import FaultState, cause_check, diagnose, draw_faults, find_faults, hides
from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from labctl.topology.model import Topology

SEEDS = [str(number) for number in range(60)]


@pytest.fixture(scope="module")
def dmz() -> Topology:
    return load_topology(shipped_folder("topologies") / "dmz.yml", shipped_catalogue())


def outcomes(topology: Topology, **changed: Result) -> list[Outcome]:
    """Return outcomes of all checks, passed but for those that are given; underscores stand for dashes."""
    named = {name.replace("_", "-"): result for name, result in changed.items()}
    return [Outcome(check, named.get(check.id, Result.PASSED), "", "", "", 0.0) for check in topology.checks]


def test_a_seed_draws_the_same_faults_again_and_another_one_others(dmz: Topology) -> None:
    drawn = {seed: tuple(fault.id for fault in draw_faults(dmz, seed, 2)) for seed in SEEDS}
    assert drawn == {seed: tuple(fault.id for fault in draw_faults(dmz, seed, 2)) for seed in SEEDS}
    assert len(set(drawn.values())) > len(SEEDS) / 2


def test_every_fault_can_be_drawn(dmz: Topology) -> None:
    drawn = {fault.id for number in range(600) for fault in draw_faults(dmz, str(number), 1)}
    assert drawn == {fault.id for fault in dmz.faults}


def test_another_version_of_the_topology_draws_anew(dmz: Topology) -> None:
    other = dmz.model_copy(update={"version": "9"})
    assert [draw_faults(dmz, seed, 3) for seed in SEEDS] != [draw_faults(other, seed, 3) for seed in SEEDS]


def test_faults_drawn_together_do_not_hide_each_other(dmz: Topology) -> None:
    for seed in SEEDS:
        fixed = [name for fault in draw_faults(dmz, seed, 3) for name in fault.fixed]
        assert len(fixed) == len(set(fixed))
    found = {fault.id: fault for fault in dmz.faults}
    assert hides(dmz, found["web-stopped"], found["web-forbidden"])  # both make site-https fail
    assert hides(dmz, found["fw-dmz-to-lan"], found["fw-no-routing"])  # nothing gets in where nothing gets through
    assert not hides(dmz, found["fw-dmz-to-lan"], found["web-not-at-boot"])
    assert not hides(dmz, found["dns-refuses-dmz"], found["web-forbidden"])


def test_only_faults_of_a_difficulty_are_drawn(dmz: Topology) -> None:
    drawn = {fault.difficulty for seed in SEEDS for fault in draw_faults(dmz, seed, 1, difficulty=3)}
    assert drawn == {3}


def test_more_faults_than_can_be_told_apart_are_refused(dmz: Topology) -> None:
    with pytest.raises(Refused, match=r"only \d+ faults that can be told apart"):
        draw_faults(dmz, "1", len(dmz.faults))


def test_an_unknown_fault_is_named(dmz: Topology) -> None:
    with pytest.raises(Refused, match='"nothing" is not a fault of "dmz": dns-stopped, '):
        find_faults(dmz, ["dns-stopped", "nothing"])
    assert [fault.id for fault in find_faults(dmz, ["web-stopped", "dns-stopped", "web-stopped"])] == [
        "web-stopped",
        "dns-stopped",
    ]


@pytest.mark.parametrize(
    ("seen", "cause", "state"),
    [
        ({"dns_from_dmz": Result.FAILED}, Result.PASSED, FaultState.PRESENT),
        ({"dns_from_dmz": Result.FAILED}, Result.FAILED, FaultState.PRESENT),  # the cause is gone, the trouble is not
        ({}, Result.FAILED, FaultState.REPAIRED),
        ({}, Result.PASSED, FaultState.AROUND),
        ({}, Result.UNKNOWN, FaultState.UNKNOWN),
        ({"dns_from_dmz": Result.UNKNOWN}, Result.FAILED, FaultState.UNKNOWN),
        ({"dmz_not_to_lan": Result.FAILED}, Result.FAILED, FaultState.REGRESSED),  # repaired by opening everything
        ({"dmz_not_to_lan": Result.UNKNOWN}, Result.FAILED, FaultState.UNKNOWN),
        ({"dns_site": Result.FAILED}, Result.FAILED, FaultState.REPAIRED),  # another fault of the lab makes it fail
        ({"web_service": Result.FAILED}, Result.FAILED, FaultState.REPAIRED),  # it failed before this fault already
    ],
)
def test_a_fault_stands_as_the_checks_say(
    dmz: Topology, seen: dict[str, Result], cause: Result, state: FaultState
) -> None:
    (fault,) = find_faults(dmz, ["dns-refuses-dmz"])
    baseline = {check.id for check in dmz.checks} - {"web-service"}
    assert diagnose(fault, cause, outcomes(dmz, **seen), baseline, {"dns-site"}).state is state


def test_the_check_of_a_cause_has_an_id_that_no_author_can_write(dmz: Topology) -> None:
    """A fault may have the name of a check, and both are asked in one visit."""
    causes = [cause_check(fault, fault.detect) for fault in dmz.faults if fault.detect]
    assert [check.id for check in causes] == [f"fault:{fault.id}" for fault in dmz.faults]
    for check in causes:
        with pytest.raises(ValidationError):
            type(check).model_validate({**check.model_dump(by_alias=True), "id": check.id})


def test_what_stands_in_the_way_is_named(dmz: Topology) -> None:
    (fault,) = find_faults(dmz, ["web-stopped"])
    baseline = {check.id for check in dmz.checks}
    seen = outcomes(dmz, site_https=Result.FAILED, lan_not_ssh_web=Result.FAILED, fw_nat=Result.UNKNOWN)
    found = diagnose(fault, Result.FAILED, seen, baseline)
    assert (found.failing, found.regressed, found.unknown) == (("site-https",), ("lan-not-ssh-web",), ("fw-nat",))


def test_a_ticket_names_no_cause(dmz: Topology) -> None:
    """A user does not know the file or the setting that is wrong: the ticket must not give it away."""
    for fault in dmz.faults:
        for text in (fault.ticket.en, fault.ticket.fr):
            assert "/etc/" not in text, fault.id
            assert fault.id not in text
            assert not {"nftables", "sysctl", "systemctl", "allow-transfer", "masquerade"} & set(text.split()), fault.id
