"""The lab `supervision-prometheus` on real guests: every check passes as it is shipped and fails on a sabotaged lab."""

from collections.abc import Iterator, Sequence

import pytest

from tests.vm.conftest import Installation
from tests.vm.shipped import Sabotage, ShippedLab, all_fails, sabotage
from tests.vm.watched_servers import LOSE_MAIL, LOSE_NAMES, OPEN_FIREWALL, OPEN_MAIL

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400)]

PROMETHEUS = ShippedLab("supervision-prometheus")

OPEN_PROMETHEUS = """
sed -i '/auth_basic/d' /etc/nginx/applications/*.conf
systemctl reload nginx
sed -i 's/listen-address=127.0.0.1:9090/listen-address=0.0.0.0:9090/' /etc/default/prometheus
systemctl restart prometheus
"""
LOSE_WEB = """
rm /var/www/www.cimes.example/index.html
sed -i 's/rocommunity cimes-lecture/rocommunity other/' /etc/snmp/snmpd.conf
systemctl restart snmpd
systemctl stop prometheus-node-exporter
"""
LOSE_ALERTS = """
sed -i 's/127.0.0.1:9093/127.0.0.1:9094/' /etc/prometheus/prometheus.yml
systemctl reload prometheus
systemctl stop prometheus-blackbox-exporter
sed -i -e 's,ssl_certificate .*,ssl_certificate /etc/ssl/other.pem;,' \\
    -e 's,ssl_certificate_key .*,ssl_certificate_key /etc/ssl/other.key;,' /etc/nginx/sites-available/*
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other \\
    -keyout /etc/ssl/other.key -out /etc/ssl/other.pem 2>/dev/null
systemctl restart nginx
"""

TOO_OPEN = (
    sabotage("fw", OPEN_FIREWALL, "agents-protected snmp-not-public snmp-not-office snmp-private"),
    sabotage("mail", OPEN_MAIL, "smtp-no-relay imap-not-other"),
    sabotage("supervision", OPEN_PROMETHEUS, "frontend-protected prometheus-hidden"),
)
LOST = (
    sabotage("fw", LOSE_NAMES, "dns-mail snmp-fw"),
    sabotage("web", LOSE_WEB, "site-https snmp-web agent-flows web-metrics-service targets-up services-seen"),
    sabotage("mail", LOSE_MAIL, "smtp-takes imap-technician mail-certificate alert-solved alert-disk"),
    sabotage("supervision", LOSE_ALERTS, "alertmanager-linked probes-up probes-service frontend frontend-certificate"),
)
STOPPED = (
    sabotage(
        "fw",
        "systemctl disable named nftables snmpd prometheus-node-exporter",
        "fw-rules-service fw-names-service fw-snmp-service fw-metrics-service",
    ),
    sabotage("web", "systemctl disable nginx snmpd", "web-service web-snmp-service"),
    sabotage(
        "mail",
        "systemctl disable postfix dovecot prometheus-node-exporter srv-essai.mount; systemctl disable --now snmpd",
        "mail-service boxes-service mail-snmp-service mail-metrics-service trial-disk-service snmp-mail",
    ),
    sabotage(
        "supervision",
        "systemctl disable nginx prometheus prometheus-alertmanager",
        "prometheus-service alertmanager-service frontend-service",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def clone(labctl: Installation) -> Iterator[None]:
    with PROMETHEUS.running(labctl):
        yield


def test_the_tables_have_every_check() -> None:
    assert all_fails(TOO_OPEN, LOST, STOPPED) == PROMETHEUS.checks


def test_all_checks_pass_on_a_clone(labctl: Installation) -> None:
    assert PROMETHEUS.not_passed(labctl) == {}


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    PROMETHEUS.play_again(labctl)


@pytest.mark.parametrize("table", [TOO_OPEN, LOST, STOPPED], ids=["too open", "lost", "stopped"])
def test_sabotage_is_seen_by_its_checks(labctl: Installation, table: Sequence[Sabotage]) -> None:
    """Without its machines the supervision sees more than the table says."""
    with PROMETHEUS.broken(labctl, table) as seen:
        assert all_fails(table) <= set(seen), all_fails(table) - set(seen)
