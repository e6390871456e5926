"""The lab `annuaire` on real guests: what is shipped passes, and each check and each fault is tried both ways."""

import json
from collections.abc import Iterator

import pytest

from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh
from tests.vm.trials import Clone, groups, prove_faults

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

LAB = "annuaire-test"
ANNUAIRE = load_topology(shipped_folder("topologies") / "annuaire.yml", shipped_catalogue())
CHECKS = {check.id for check in ANNUAIRE.checks}
NODES = tuple(ANNUAIRE.nodes)
GROUPS = groups(ANNUAIRE)

# What no fault breaks; it is broken last, for nothing is repaired after it.
SABOTAGE = {
    "dhcp": (
        """
        rm /var/lib/kea/kea-leases4.csv*
        echo '{ "Dhcp4": ' >/etc/kea/kea-dhcp4.conf
        """,
        {"dhcp-valid", "dhcp-leases"},
    ),
    # The new address has no way to the DNS server, so that names fail too.
    "poste": (
        """
        sed -i '/pam_winbind/d' /etc/pam.d/common-auth
        printf '[Match]\\nName=lan\\n[Network]\\nAddress=172.16.20.51/24\\nDNS=172.16.20.3\\n' \
            >/etc/systemd/network/20-lan.network
        networkctl reload
        """,
        {"dhcp-address", "dhcp-dynamic", "dns-ldap", "dns-files", "dns-reverse", "member-login"},
    ),
    "dc": (
        """
        printf '%s\\n' 'dn: DC=ad,DC=cimes,DC=example' 'changetype: modify' 'replace: minPwdLength' 'minPwdLength: 40' |
            ldbmodify -H /var/lib/samba/private/sam.ldb
        systemctl stop samba-ad-dc
        """,
        {
            "dns-kerberos", "ldap-group", "ldap-certificate", "accounts-all", "accounts-unit", "policy-applied",
            "member-trust",
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def clone(labctl: Installation) -> Iterator[None]:
    """Bring up the lab once and remove it at the end; its golden lab stays."""
    done = labctl.run("up", "annuaire", "--student", "test", timeout=2300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"{LAB}: 4 of 4 nodes ready"
    yield
    labctl.run("down", LAB)
    assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"


def outcomes(labctl: Installation, *words: str) -> dict[str, str]:
    """Return what each check saw, by id."""
    found = labctl.json("check", LAB, *words)["checks"]
    return {check["id"]: f"{check['result']}: {check['seen']}" for check in found}


def not_passed(seen: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in seen.items() if not text.startswith("passed")}


def test_every_check_is_broken_by_a_fault_or_by_the_sabotage() -> None:
    by_faults = {name for fault in ANNUAIRE.faults for name in fault.fixed}
    by_sabotage = {name for _script, names in SABOTAGE.values() for name in names}
    assert by_faults | by_sabotage == CHECKS
    assert len(ANNUAIRE.faults) >= 8


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    report = json.loads(labctl.run("configure", LAB, "--json").stdout)
    assert {node: found["changed"] for node, found in report["nodes"].items()} == dict.fromkeys(NODES, 0), report


def test_the_secret_of_the_directory_is_in_no_command_line_or_run_artifact() -> None:  # SEC-15
    folder = TEST_HOME / "labs" / LAB
    secret = folder / "secrets" / "directory.password"
    assert secret.stat().st_mode & 0o777 == 0o600
    word = secret.read_text(encoding="ascii").strip()
    holding = [path for path in (folder / "ansible").rglob("*") if path.is_file() and word in path.read_text("latin-1")]
    assert holding == []


def test_all_checks_pass_after_a_reboot(labctl: Installation) -> None:
    seen = outcomes(labctl, "--after-reboot")
    assert set(seen) == CHECKS
    assert not_passed(seen) == {}


@pytest.mark.parametrize("name", GROUPS)
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, name: str) -> None:
    prove_faults(GROUPS[name], Clone(labctl, LAB))


def test_what_no_fault_breaks_is_seen_too(labctl: Installation) -> None:
    """Without the directory much more fails than the table says: names, tickets, shares."""
    for node, (script, _names) in SABOTAGE.items():
        done = labctl.run("ssh", LAB, node, "--", "sh", "-ec", script, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    seen = outcomes(labctl)
    expected = {name for _script, names in SABOTAGE.values() for name in names}
    assert {name for name in expected if not seen[name].startswith("failed")} == set(), seen
