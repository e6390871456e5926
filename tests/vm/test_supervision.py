"""The lab `supervision` on real guests: every check passes on the lab as it is shipped and fails on a sabotaged one."""

from collections.abc import Iterator, Sequence

import pytest

from tests.vm.conftest import Installation
from tests.vm.shipped import Sabotage, ShippedLab, all_fails, sabotage
from tests.vm.watched_servers import LOSE_MAIL, LOSE_NAMES, OPEN_FIREWALL, OPEN_MAIL

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400)]

SUPERVISION = ShippedLab("supervision")

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
LOSE_WEB = """
rm /var/www/www.cimes.example/index.html
sed -i 's/rocommunity cimes-lecture/rocommunity other/' /etc/snmp/snmpd.conf
systemctl restart snmpd
sed -i 's/^Server=.*/Server=127.0.0.1/' /etc/zabbix/zabbix_agentd.conf
systemctl stop zabbix-agent
"""

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
    with SUPERVISION.running(labctl):
        yield


def test_the_tables_have_every_check() -> None:
    assert all_fails(TOO_OPEN, LOST, STOPPED) == SUPERVISION.checks


def test_all_checks_pass_on_a_clone(labctl: Installation) -> None:
    assert SUPERVISION.not_passed(labctl) == {}


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    SUPERVISION.play_again(labctl)


def test_the_secret_of_the_accounts_is_in_no_run_artifact() -> None:  # SEC-15
    secret = SUPERVISION.folder / "secrets" / "accounts.password"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert SUPERVISION.artifacts_with([secret.read_text(encoding="ascii").strip()]) == []


@pytest.mark.parametrize("table", [TOO_OPEN, LOST, STOPPED], ids=["too open", "lost", "stopped"])
def test_sabotage_is_seen_by_its_checks(labctl: Installation, table: Sequence[Sabotage]) -> None:
    """Without its database or its agents the supervision sees more than the table says."""
    with SUPERVISION.broken(labctl, table) as seen:
        assert all_fails(table) <= set(seen), all_fails(table) - set(seen)


@pytest.mark.parametrize("group", SUPERVISION.groups)
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, group: str) -> None:
    SUPERVISION.prove(labctl, group)
