"""The lab `liaison` on real guests: every check passes as it is shipped and fails on a sabotaged one; its faults."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from tests.vm.conftest import PREFIX, Installation, virsh
from tests.vm.shipped import Sabotage, ShippedLab, all_fails, sabotage

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400)]

LIAISON = ShippedLab("liaison")

# Both routers hold the address, the second one, which has no tunnel, is found by the server, and it would not share the
# address after a reboot.
TWO_MASTERS = """
sed -i 's/virtual_router_id 10$/virtual_router_id 11/' /etc/keepalived/keepalived.conf
systemctl reload keepalived
systemctl disable keepalived
"""

TOO_OPEN = (
    sabotage("r1", "chmod 644 /etc/wireguard/wg0.key", "key-private"),
    sabotage("r2", TWO_MASTERS, "second-router-waits second-router-boot agency-to-server agency-pings-server"),
    sabotage("r3", "systemctl disable --now nftables", "operator-not-to-agency"),
)
LOST = (
    sabotage("r1", "systemctl disable --now keepalived", "first-router-holds first-router-boot"),
    sabotage("r2", "systemctl stop keepalived", "second-router-boot gateway-answers"),
    sabotage("r3", "networkctl delete wg0", "tunnel-up agency-to-server agency-pings-server"),
)


@pytest.fixture(scope="module", autouse=True)
def clone(labctl: Installation) -> Iterator[None]:
    with LIAISON.running(labctl):
        yield


def test_the_tables_have_every_check() -> None:
    assert all_fails(TOO_OPEN, LOST) == LIAISON.checks


def test_all_checks_pass_on_a_clone(labctl: Installation) -> None:
    assert LIAISON.not_passed(labctl) == {}


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    LIAISON.play_again(labctl)


def test_the_keys_of_the_tunnel_are_in_no_run_artifact(labctl: Installation) -> None:  # SEC-15
    words = {LIAISON.on(labctl, router, "cat /etc/wireguard/wg0.key").strip() for router in ("r1", "r3")}
    assert len(words) == 2
    assert LIAISON.artifacts_with(words) == []


def test_the_second_router_takes_over_and_gives_back(labctl: Installation) -> None:
    """What the topology tells students to measure: the server's gateway is silent for a few seconds at most."""
    holds = "timeout 60 sh -c 'until ip -br address show dev lan | grep -q 172.16.10.254/24; do sleep 1; done'"
    first = f"{PREFIX}{LIAISON.lab}.r1"
    answered = "timeout 60 sh -c 'until grep -q icmp_seq /run/measure; do sleep 0.2; done'"
    measure = f"systemd-run --quiet --unit=measure sh -c 'ping -i 0.5 172.16.10.254 >/run/measure'; {answered}"
    LIAISON.on(labctl, "serveur", measure)
    virsh("suspend", first)  # it says nothing more, not even that it goes
    try:
        LIAISON.on(labctl, "r2", holds)
    finally:
        virsh("resume", first)
    LIAISON.on(labctl, "r1", holds)
    said = LIAISON.on(labctl, "serveur", "sleep 5; systemctl kill --signal=INT measure; sleep 1; cat /run/measure")
    # What the first one found in its card when it went on was answered, too late for anybody.
    found = {int(number): float(ms) for number, ms in re.findall(r"icmp_seq=(\d+) ttl=\d+ time=([\d.]+) ms", said)}
    longest = max(after - before for before, after in pairwise(sorted(n for n in found if found[n] < 1000))) * 0.5
    assert 2 < longest < 20, said  # silence for three announcements, then the other router
    assert LIAISON.not_passed(labctl) == {}


def test_what_must_last_passes_after_a_reboot(labctl: Installation) -> None:
    assert LIAISON.not_passed(labctl, "--after-reboot") == {}


@pytest.mark.parametrize("table", [TOO_OPEN, LOST], ids=["too open", "lost"])
def test_sabotage_is_seen_by_exactly_its_checks(labctl: Installation, table: Sequence[Sabotage]) -> None:
    with LIAISON.broken(labctl, table) as seen:
        assert set(seen) == all_fails(table), seen


@pytest.mark.parametrize("group", LIAISON.groups)
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, group: str) -> None:
    LIAISON.prove(labctl, group)
