"""The lab `supervision` on real guests: every check passes on the lab as it is shipped and fails on a sabotaged one."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from labctl.lab.workplace import shipped_catalogue
from labctl.shipped import shipped_folder
from labctl.topology.faults import Fault
from labctl.topology.load import load_topology
from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh
from tests.vm.trials import Clone, groups, prove_faults

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

LAB = "supervision-test"
TOPOLOGY = load_topology(shipped_folder("topologies") / "supervision.yml", shipped_catalogue())
GROUPS = groups(TOPOLOGY)
CHECKS = {check.id for check in TOPOLOGY.checks}
NODES = tuple(TOPOLOGY.nodes)

OPEN_FIREWALL = """
sed -i 's/ip saddr 172.16.30.2 //' /etc/nftables.conf
systemctl reload nftables
echo 'rocommunity public' >>/etc/snmp/snmpd.conf
echo 'rocommunity cimes-lecture 172.16.30.0/24' >>/etc/snmp/snmpd.conf
chmod 644 /etc/snmp/snmpd.conf
systemctl restart snmpd
"""
OPEN_MAIL = """
sed -i 's/^mynetworks = .*/mynetworks = 0.0.0.0\\/0/' /etc/postfix/main.cf
systemctl restart postfix
hash=$(getent shadow technicien | cut -d: -f2)
usermod --password "$hash" secretariat
"""
OPEN_ZABBIX = r"""
chmod 644 /etc/zabbix/zabbix_server.conf
sed -i "s/^listen_addresses = .*/listen_addresses = '*'/" /etc/postgresql/17/main/conf.d/labctl.conf
systemctl restart postgresql@17-main zabbix-server
psql -U zabbix -qAt -c "UPDATE users SET passwd = '\$2y\$10\$92nDno4n0Zm7Ej7Jfsz8WukBfgSS/U0QkIuu8WkJPihXBb2A1UrEK'"
sleep 30
"""
# What dpkg says of a package that was never installed.
LOSE_ALERTS = """
psql -U zabbix -qAt -c "UPDATE actions SET status = 1 WHERE actionid = 3"
zabbix_server -R config_cache_reload
sed -i '/^Package: zabbix-server-pgsql$/,/^$/s/^Status: .*/Status: deinstall ok config-files/' /var/lib/dpkg/status
sed -i -e 's,ssl_certificate .*,ssl_certificate /etc/ssl/other.pem;,' \\
    -e 's,ssl_certificate_key .*,ssl_certificate_key /etc/ssl/other.key;,' /etc/nginx/sites-available/*
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other \\
    -keyout /etc/ssl/other.key -out /etc/ssl/other.pem 2>/dev/null
systemctl restart nginx
"""
LOSE_MAIL = """
sed -i 's/^mydestination = .*/mydestination = localhost/' /etc/postfix/main.cf
systemctl restart postfix
find /home/technicien/Maildir -type f -path '*/new/*' -delete -o -type f -path '*/cur/*' -delete
echo 'technicien:other' | chpasswd
cp /etc/ssl/certs/mail.pem /root/mail.pem
openssl req -x509 -key /etc/ssl/private/mail.key -days 2 -subj /CN=other -out /etc/ssl/certs/mail.pem 2>/dev/null
systemctl restart dovecot
"""
LOSE_NAMES = """
sed -i '/MX/d' /etc/bind/db.cimes.example
systemctl reload named
sed -i 's/rocommunity cimes-lecture/rocommunity other/' /etc/snmp/snmpd.conf
systemctl restart snmpd
"""
LOSE_WEB = """
rm /var/www/www.cimes.example/index.html
sed -i 's/rocommunity cimes-lecture/rocommunity other/' /etc/snmp/snmpd.conf
systemctl restart snmpd
sed -i 's/^Server=.*/Server=127.0.0.1/' /etc/zabbix/zabbix_agentd.conf
systemctl stop zabbix-agent
"""


@dataclass(frozen=True)
class Sabotage:
    """What is done to a node, and the checks that see it."""

    node: str
    script: str
    fails: frozenset[str]


def sabotage(node: str, script: str, fails: str) -> Sabotage:
    return Sabotage(node, script, frozenset(fails.split()))


TOO_OPEN = (
    sabotage("fw", OPEN_FIREWALL, "agents-protected snmp-not-public snmp-not-office snmp-private"),
    sabotage("mail", OPEN_MAIL, "smtp-no-relay imap-not-other"),
    sabotage("supervision", OPEN_ZABBIX, "zabbix-settings-private database-hidden zabbix-not-default zabbix-login"),
)
LOST = (
    sabotage("fw", LOSE_NAMES, "dns-mail snmp-fw"),
    sabotage("web", LOSE_WEB, "site-https snmp-web agent-flows agents-protected web-agent-service hosts-available"),
    sabotage("mail", LOSE_MAIL, "smtp-takes imap-technician imap-not-other mail-certificate alert-solved alert-disk"),
    sabotage(
        "supervision",
        LOSE_ALERTS,
        "frontend frontend-certificate zabbix-login zabbix-not-default zabbix-version alert-disk",
    ),
)
STOPPED = (
    sabotage("fw", "systemctl disable named nftables snmpd", "fw-rules-service fw-names-service fw-snmp-service"),
    sabotage("web", "systemctl disable nginx snmpd zabbix-agent", "web-service web-snmp-service web-agent-service"),
    sabotage(
        "mail",
        "systemctl disable postfix dovecot zabbix-agent srv-essai.mount; systemctl disable --now snmpd",
        "mail-service boxes-service mail-snmp-service mail-agent-service trial-disk-service snmp-mail",
    ),
    sabotage(
        "supervision",
        "systemctl disable nginx php8.4-fpm zabbix-server; systemctl stop postgresql@17-main",
        "zabbix-service database-service frontend-service php-service",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def clone(labctl: Installation) -> Iterator[None]:
    """Bring up the lab once and remove it at the end; its golden lab stays."""
    done = labctl.run("up", "supervision", "--student", "test", timeout=2300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"{LAB}: 5 of 5 nodes ready"
    yield
    labctl.run("down", LAB)
    assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"


def not_passed(labctl: Installation) -> dict[str, str]:
    """Return the checks that did not pass with what was seen."""
    found = labctl.json("check", LAB)["checks"]
    assert {check["id"] for check in found} == CHECKS
    return {check["id"]: f"{check['result']}: {check['seen']}" for check in found if check["result"] != "passed"}


def break_it(labctl: Installation, table: Sequence[Sabotage]) -> frozenset[str]:
    """Do what the table says and return the checks that have to see it."""
    for one in table:
        done = labctl.run("ssh", LAB, one.node, "--", "sh", "-ec", one.script, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    return frozenset().union(*(one.fails for one in table))


def test_the_table_has_every_check() -> None:
    assert frozenset().union(*(one.fails for one in (*TOO_OPEN, *LOST, *STOPPED))) == CHECKS


def test_all_checks_pass_on_a_clone(labctl: Installation) -> None:
    assert not_passed(labctl) == {}


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    report = json.loads(labctl.run("configure", LAB, "--json").stdout)
    assert {node: found["changed"] for node, found in report["nodes"].items()} == dict.fromkeys(NODES, 0), report


def test_the_secret_of_the_accounts_is_in_no_run_artifact() -> None:  # SEC-15
    folder = TEST_HOME / "labs" / LAB
    secret = folder / "secrets" / "accounts.password"
    assert secret.stat().st_mode & 0o777 == 0o600
    word = secret.read_text(encoding="ascii").strip()
    holding = [path for path in (folder / "ansible").rglob("*") if path.is_file() and word in path.read_text("latin-1")]
    assert holding == []


@pytest.mark.parametrize("table", [TOO_OPEN, LOST, STOPPED], ids=["too open", "lost", "stopped"])
def test_sabotage_is_seen_by_its_checks(labctl: Installation, table: Sequence[Sabotage]) -> None:
    """Without its database or its agents the supervision sees more than the table says."""
    expected = break_it(labctl, table)
    try:
        seen = not_passed(labctl)
        assert expected <= set(seen), expected - set(seen)
    finally:
        assert labctl.run("reset", LAB, "--yes").returncode == 0


@pytest.mark.parametrize("group", GROUPS.values(), ids=list(GROUPS))
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, group: Sequence[Fault]) -> None:
    try:
        prove_faults(group, Clone(labctl, LAB))
    except BaseException:
        labctl.run("reset", LAB, "--yes")
        raise
