"""The lab `sauvegarde` on real guests: every check passes as it is shipped and fails on a sabotaged one; its faults."""

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

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

LAB = "sauvegarde-test"
TOPOLOGY = load_topology(shipped_folder("topologies") / "sauvegarde.yml", shipped_catalogue())
GROUPS = groups(TOPOLOGY)
CHECKS = {check.id for check in TOPOLOGY.checks}
NODES = ("fw", "poste", "fichiers", "base", "sauvegarde", "distant")
REPOSITORY = "ssh://sauvegarde/srv/borg/fichiers"

OPEN_FILES = r"""
sed -i '/valid users = @compta/d' /etc/samba/smb.conf
systemctl restart smbd
chmod 644 /etc/borgmatic/phrase-secrete
sed -i 's/^keep_daily: 7/keep_daily: 1/' /etc/borgmatic/config.yaml
systemctl disable --now borgmatic.timer
"""
OPEN_BASE = """
chmod 644 /etc/borgmatic/phrase-secrete
sed -i '/^keep_weekly/d' /etc/borgmatic/config.yaml
systemctl disable borgmatic.timer
"""
# Keys that open a terminal, repositories that others read, no upkeep: backups go on all the same.
OPEN_VAULT = """
sed -i 's/^command=.*,restrict ssh-/ssh-/' /etc/ssh/depots/*
chmod 644 /srv/borg/*/config
systemctl disable --now entretien-depots.timer
"""
LOSE_FILES = """
rm /srv/partages/documents/sorties.csv
echo '4;85;non' >>/srv/partages/compta/cotisations.csv
chmod 700 /srv/partages/documents
systemctl disable smbd
"""
LOSE_BASE = """
echo '-- more' >>/var/backups/base/club.sql
systemctl stop postgresql@17-main
"""
NO_PING = r"""
sed -i '/icmp type echo-request limit/d' /etc/nftables.conf
systemctl reload nftables
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
    sabotage(
        "fw",
        "systemctl disable --now nftables",
        "fw-service office-not-ssh office-not-vault vault-starts-nothing offsite-starts-nothing",
    ),
    sabotage("fichiers", OPEN_FILES, "share-denied files-passphrase files-retention files-timer"),
    sabotage("base", OPEN_BASE, "base-passphrase base-retention base-timer"),
    sabotage(
        "sauvegarde",
        OPEN_VAULT,
        "own-repository vault-key-files vault-key-base vault-encrypted-files vault-encrypted-base vault-upkeep",
    ),
    sabotage(
        "distant",
        OPEN_VAULT,
        "offsite-key-files offsite-key-base offsite-encrypted-files offsite-encrypted-base offsite-upkeep",
    ),
)
# Without the database nobody knows whether its port is closed to the other site: that check cannot be made.
LOST = (
    sabotage("fw", NO_PING, "gateway"),
    sabotage("fichiers", LOSE_FILES, "share-rights share-service documents-there files-local files-offsite"),
    sabotage(
        "base",
        LOSE_BASE,
        "database-service database-content office-services offsite-starts-nothing base-local base-offsite",
    ),
)


@pytest.fixture(scope="module", autouse=True)
def clone(labctl: Installation) -> Iterator[None]:
    """Bring up the lab once and remove it at the end; its golden lab stays."""
    done = labctl.run("up", "sauvegarde", "--student", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == f"{LAB}: 6 of 6 nodes ready"
    yield
    labctl.run("down", LAB)
    assert PREFIX not in virsh("list", "--all", "--name"), "machines were left behind"


def not_passed(labctl: Installation) -> dict[str, str]:
    """Return the checks that did not pass with what was seen."""
    found = labctl.json("check", LAB)["checks"]
    assert {check["id"] for check in found} == CHECKS
    return {check["id"]: f"{check['result']}: {check['seen']}" for check in found if check["result"] != "passed"}


def on(labctl: Installation, node: str, script: str) -> str:
    """Run a shell script on a node and return what it prints."""
    done = labctl.run("ssh", LAB, node, "--", "sh", "-ec", script, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_table_has_every_check() -> None:
    assert frozenset().union(*(one.fails for one in (*TOO_OPEN, *LOST))) == CHECKS


def test_all_checks_pass_on_a_clone(labctl: Installation) -> None:
    assert not_passed(labctl) == {}


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    report = json.loads(labctl.run("configure", LAB, "--json").stdout)
    assert {node: found["changed"] for node, found in report["nodes"].items()} == dict.fromkeys(NODES, 0), report


def test_secrets_stay_on_their_machines(labctl: Installation) -> None:  # SEC-15
    words = {on(labctl, node, "cat /etc/borgmatic/phrase-secrete").strip() for node in ("fichiers", "base")}
    assert len(words) == 2
    folder = TEST_HOME / "labs" / LAB / "ansible"
    texts = [path.read_text("latin-1") for path in folder.rglob("*") if path.is_file()]
    assert texts
    assert [text for text in texts if any(word in text for word in words)] == []


def test_age_and_duration_are_measured_on_the_machine(labctl: Installation) -> None:
    said = on(labctl, "base", "mesurer-reprise")
    assert said.count("empreinte : identique à /var/backups/base/club.sql") == 2
    assert said.count("restauration : ") == said.count("âge : ") == 2


def test_what_a_server_deletes_can_be_brought_back(labctl: Installation) -> None:
    """The key is append-only: a deletion is one more entry of the journal, which the backup server can take back."""
    password = "export BORG_RELOCATED_REPO_ACCESS_IS_OK=yes BORG_PASSCOMMAND='cat /etc/borgmatic/phrase-secrete'\n"
    last = on(labctl, "sauvegarde", "ls /srv/borg/fichiers/data/0 | sort -n | tail -n 1").strip()
    on(labctl, "fichiers", f'{password} borg delete {REPOSITORY}::"$(borg list --last 1 --short {REPOSITORY})"')
    try:
        assert on(labctl, "fichiers", f"{password} borg list {REPOSITORY}") == ""
        # What docs/labs/sauvegarde-answers.md tells.
        back = f"""cd /srv/borg/fichiers
        for segment in data/0/*; do test "${{segment##*/}}" -le {last} || rm "$segment"; done
        rm -f index.* hints.* integrity.*"""
        on(labctl, "sauvegarde", back)
        on(labctl, "fichiers", "rm -r /root/.config/borg/security /root/.cache/borg")
        assert on(labctl, "fichiers", f"{password} borg list {REPOSITORY}").startswith("fichiers-")
    finally:
        assert labctl.run("reset", LAB, "--yes").returncode == 0


@pytest.mark.parametrize("table", [TOO_OPEN, LOST], ids=["too open", "lost"])
def test_sabotage_is_seen_by_exactly_its_checks(labctl: Installation, table: Sequence[Sabotage]) -> None:
    for one in table:
        on(labctl, one.node, one.script)
    try:
        seen = not_passed(labctl)
        assert set(seen) == frozenset().union(*(one.fails for one in table)), seen
    finally:
        assert labctl.run("reset", LAB, "--yes").returncode == 0


@pytest.mark.parametrize("group", GROUPS.values(), ids=list(GROUPS))
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, group: Sequence[Fault]) -> None:
    try:
        prove_faults(group, Clone(labctl, LAB))
    except BaseException:
        labctl.run("reset", LAB, "--yes")
        raise
