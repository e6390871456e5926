"""Values of their own on real machines: a clone of the golden lab, and machines that boot for want of usable memory."""

import json
import re
from collections.abc import Iterator

import pytest

from labctl.hypervisor.trial import KEPT
from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(3600)]

SESSION = "vm-tests"
OWNERS = ("vera", "wim")
CONCERNED = "dns-second-name,fw-published,client-account"


@pytest.fixture(scope="module")
def pair(labctl: Installation) -> Iterator[dict[str, dict[str, str]]]:
    """Bring up two labs of one session and return their values; remove them at the end."""
    done = labctl.run("up", "dmz", "--student", ",".join(OWNERS), "--session", SESSION)
    assert done.returncode == 0, done.stdout + done.stderr
    yield {owner: values(labctl, owner) for owner in OWNERS}
    labctl.run("down", *(f"dmz-{owner}" for owner in OWNERS), "--yes")
    assert f"{PREFIX}dmz-vera" not in virsh("list", "--all", "--name"), "machines were left behind"


def values(labctl: Installation, owner: str) -> dict[str, str]:
    (found,) = labctl.json("variant", "show", f"dmz-{owner}")["labs"]
    assert found["session"] == SESSION
    assert "key" not in found
    return {one["name"]: str(one["value"]) for one in found["values"]}


def on(labctl: Installation, owner: str, node: str, command: str) -> str:
    return labctl.run("ssh", f"dmz-{owner}", node, "--", "sh", "-c", command, timeout=180).stdout


def assert_own(labctl: Installation, owner: str, own: dict[str, str]) -> None:
    """Assert that machines have their owner's values and nothing of the defaults."""
    zone = on(labctl, owner, "fw", "cat /etc/bind/db.cimes.example")
    assert re.search(rf"^{own['second_name']}\s", zone, re.MULTILINE)
    assert not re.search(r"^club\s", zone, re.MULTILINE)
    rules = on(labctl, owner, "fw", "nft list ruleset")
    assert f"dport {own['published_port']} dnat to 192.168.50.80:443" in rules
    assert "dport 443 dnat" not in rules
    accounts = on(labctl, owner, "client", "getent passwd")
    assert f"\n{own['technician']}:" in accounts
    assert "technicien:" not in accounts


def test_two_neighbours_have_other_values_and_all_checks_pass(
    labctl: Installation, pair: dict[str, dict[str, str]]
) -> None:
    vera, wim = (pair[owner] for owner in OWNERS)
    assert vera != wim
    assert vera["technician"] != wim["technician"]
    for owner in OWNERS:
        done = labctl.run("check", f"dmz-{owner}")
        assert done.returncode == 0, done.stdout
        assert_own(labctl, owner, pair[owner])


def test_a_neighbours_values_do_not_pass(labctl: Installation, pair: dict[str, dict[str, str]]) -> None:
    on(labctl, "vera", "client", f"userdel -r {pair['vera']['technician']}; useradd {pair['wim']['technician']}")
    assert labctl.run("check", "dmz-vera", "--id", "client-account").returncode == 1
    assert labctl.run("reset", "dmz-vera", "--node", "client", "--yes").returncode == 0
    assert_own(labctl, "vera", pair["vera"])


def test_running_the_roles_again_changes_nothing(labctl: Installation, pair: dict[str, dict[str, str]]) -> None:  # noqa: ARG001  the labs are there
    found = labctl.json("configure", "dmz-vera")["nodes"]
    assert {name: node["changed"] for name, node in found.items()} == {"fw": 0, "web": 0, "client": 0}


def test_the_drawn_fault_is_brought_about_and_repaired(labctl: Installation, pair: dict[str, dict[str, str]]) -> None:  # noqa: ARG001  the labs are there
    (key,) = labctl.json("variant", "show", "dmz-wim", "--key")["labs"]
    (answer,) = key["key"]
    done = labctl.run("fault", "inject", "dmz-wim", "--drawn")
    assert done.returncode == 0, done.stdout + done.stderr
    assert key["tickets"][0].strip()[:40] in done.stdout
    shown = labctl.run("check", "dmz-wim", "--student-view").stdout
    assert answer["fault"] not in shown
    done = labctl.run("fault", "clear", "dmz-wim", "--json")
    cleared = json.loads(done.stdout.splitlines()[-1])
    assert [(one["id"], one["state"]) for one in cleared["faults"]] == [(answer["fault"], "repaired")]


def test_no_answer_and_no_secret_is_on_a_machine(labctl: Installation, pair: dict[str, dict[str, str]]) -> None:  # noqa: ARG001  the labs are there
    secret = (TEST_HOME / "variants.key").read_bytes()
    (key,) = labctl.json("variant", "show", "dmz-vera", "--key")["labs"]
    fault = key["key"][0]["fault"]
    for node in ("fw", "web", "client"):
        found = on(
            labctl, "vera", node, f'grep -rlsE "{fault}|{SESSION}|{secret.hex()}" /etc /root /home /var/lib || true'
        )
        assert found == "", node
    lab = TEST_HOME / "labs" / "dmz-vera"
    readable = [path for path in lab.rglob("*") if path.is_file() and path.stat().st_mode & 0o004]
    assert all(secret not in path.read_bytes() for path in readable if path.suffix != ".qcow2")


@pytest.fixture
def _cold() -> Iterator[None]:
    """Let labctl believe that saved memory cannot be loaded on this host."""
    path = TEST_HOME / KEPT
    before = path.read_bytes()
    known = json.loads(before)
    known["verdicts"] = dict.fromkeys(known["verdicts"], "not tried here")
    path.write_text(json.dumps(known))
    yield
    path.write_bytes(before)


@pytest.mark.usefixtures("_cold")
def test_machines_that_boot_get_the_same_values(labctl: Installation, pair: dict[str, dict[str, str]]) -> None:
    """No saved memory is usable: the machines boot from the golden disks, and end the same."""
    done = labctl.run("reset", "dmz-vera", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cold boot" in done.stdout + done.stderr
    assert values(labctl, "vera") == pair["vera"]
    assert_own(labctl, "vera", pair["vera"])
    assert labctl.run("check", "dmz-vera", "--id", CONCERNED).returncode == 0
