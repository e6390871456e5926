"""The lab `annuaire` on real guests: what is shipped passes, and each check and each fault is tried both ways."""

from collections.abc import Iterator, Sequence

import pytest

from tests.vm.conftest import Installation
from tests.vm.shipped import Sabotage, ShippedLab, all_fails, sabotage

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400)]

ANNUAIRE = ShippedLab("annuaire")

# What no fault breaks.
OPENED = (
    sabotage(
        "dc",
        """
        sed -i '/^\\[global\\]/a ldap server require strong auth = no' /etc/samba/smb.conf
        openssl req -x509 -key "$(sed -n 's/.*tls keyfile = //p' /etc/samba/smb.conf)" -days 2 -subj /CN=other \\
            -out /root/other.pem 2>/dev/null
        sed -i 's,tls certfile = .*,tls certfile = /root/other.pem,' /etc/samba/smb.conf
        systemctl restart samba-ad-dc
        for second in $(seq 90); do ss -ltn | grep -q ':389 ' && exit 0; sleep 1; done
        exit 1
        """,
        "ldap-no-clear-password ldap-certificate",
    ),
)
# Without the directory much more fails than the table says: names, tickets, shares.
BROKEN = (
    sabotage(
        "dhcp",
        """
        rm /var/lib/kea/kea-leases4.csv*
        echo '{ "Dhcp4": ' >/etc/kea/kea-dhcp4.conf
        """,
        "dhcp-valid dhcp-leases",
    ),
    # The new address has no way to the DNS server, so that names fail too.
    sabotage(
        "poste",
        """
        sed -i '/pam_winbind/d' /etc/pam.d/common-auth
        printf '[Match]\\nName=lan\\n[Network]\\nAddress=172.16.20.51/24\\nDNS=172.16.20.3\\n' \
            >/etc/systemd/network/20-lan.network
        networkctl reload
        """,
        "dhcp-address dhcp-dynamic dns-ldap dns-files dns-reverse member-login",
    ),
    sabotage(
        "dc",
        """
        printf '%s\\n' 'dn: DC=ad,DC=cimes,DC=example' 'changetype: modify' 'replace: minPwdLength' 'minPwdLength: 40' |
            ldbmodify -H /var/lib/samba/private/sam.ldb
        systemctl stop samba-ad-dc
        """,
        "dns-kerberos ldap-group accounts-all accounts-unit policy-applied member-trust",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def clone(labctl: Installation) -> Iterator[None]:
    with ANNUAIRE.running(labctl):
        yield


def test_every_check_is_broken_by_a_fault_or_by_the_sabotage() -> None:
    by_faults = {name for fault in ANNUAIRE.topology.faults for name in fault.fixed}
    assert by_faults | all_fails(OPENED, BROKEN) == ANNUAIRE.checks
    assert len(ANNUAIRE.topology.faults) >= 8


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    ANNUAIRE.play_again(labctl)


def test_the_secret_of_the_directory_is_in_no_run_artifact() -> None:  # SEC-15
    secret = ANNUAIRE.folder / "secrets" / "directory.password"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert ANNUAIRE.artifacts_with([secret.read_text(encoding="ascii").strip()]) == []


def test_what_must_last_passes_after_a_reboot(labctl: Installation) -> None:
    assert ANNUAIRE.not_passed(labctl, "--after-reboot") == {}


@pytest.mark.parametrize("group", ANNUAIRE.groups)
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, group: str) -> None:
    ANNUAIRE.prove(labctl, group)


@pytest.mark.parametrize("table", [OPENED, BROKEN], ids=["opened", "broken"])
def test_what_no_fault_breaks_is_seen_too(labctl: Installation, table: Sequence[Sabotage]) -> None:
    with ANNUAIRE.broken(labctl, table) as seen:
        failed = {name for name, text in seen.items() if text.startswith("failed")}
        assert all_fails(table) <= failed, seen
