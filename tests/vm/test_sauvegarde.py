"""The lab `sauvegarde` on real guests: every check passes as it is shipped and fails on a sabotaged one; its faults."""

from collections.abc import Iterator, Sequence

import pytest

from tests.vm.conftest import Installation
from tests.vm.shipped import Sabotage, ShippedLab, all_fails, sabotage

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(2400)]

SAUVEGARDE = ShippedLab("sauvegarde")
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
    with SAUVEGARDE.running(labctl):
        yield


def test_the_tables_have_every_check() -> None:
    assert all_fails(TOO_OPEN, LOST) == SAUVEGARDE.checks


def test_all_checks_pass_on_a_clone(labctl: Installation) -> None:
    assert SAUVEGARDE.not_passed(labctl) == {}


def test_a_second_play_changes_nothing_on_any_node(labctl: Installation) -> None:
    SAUVEGARDE.play_again(labctl)


def test_secrets_stay_on_their_machines(labctl: Installation) -> None:  # SEC-15
    words = {SAUVEGARDE.on(labctl, node, "cat /etc/borgmatic/phrase-secrete").strip() for node in ("fichiers", "base")}
    assert len(words) == 2
    assert SAUVEGARDE.artifacts_with(words) == []


def test_age_and_duration_are_measured_on_the_machine(labctl: Installation) -> None:
    said = SAUVEGARDE.on(labctl, "base", "mesurer-reprise")
    assert said.count("empreinte : identique à /var/backups/base/club.sql") == 2
    assert said.count("restauration : ") == said.count("âge : ") == 2


def test_what_a_server_deletes_can_be_brought_back(labctl: Installation) -> None:
    """The key is append-only: a deletion is one more entry of the journal, which the backup server can take back."""
    password = "export BORG_RELOCATED_REPO_ACCESS_IS_OK=yes BORG_PASSCOMMAND='cat /etc/borgmatic/phrase-secrete'\n"
    last = SAUVEGARDE.on(labctl, "sauvegarde", "ls /srv/borg/fichiers/data/0 | sort -n | tail -n 1").strip()
    SAUVEGARDE.on(
        labctl, "fichiers", f'{password} borg delete {REPOSITORY}::"$(borg list --last 1 --short {REPOSITORY})"'
    )
    try:
        assert SAUVEGARDE.on(labctl, "fichiers", f"{password} borg list {REPOSITORY}") == ""
        # What docs/labs/sauvegarde-answers.md tells.
        back = f"""cd /srv/borg/fichiers
        for segment in data/0/*; do test "${{segment##*/}}" -le {last} || rm "$segment"; done
        rm -f index.* hints.* integrity.*"""
        SAUVEGARDE.on(labctl, "sauvegarde", back)
        SAUVEGARDE.on(labctl, "fichiers", "rm -r /root/.config/borg/security /root/.cache/borg")
        assert SAUVEGARDE.on(labctl, "fichiers", f"{password} borg list {REPOSITORY}").startswith("fichiers-")
    finally:
        assert labctl.run("reset", SAUVEGARDE.lab, "--yes").returncode == 0


@pytest.mark.parametrize("table", [TOO_OPEN, LOST], ids=["too open", "lost"])
def test_sabotage_is_seen_by_exactly_its_checks(labctl: Installation, table: Sequence[Sabotage]) -> None:
    with SAUVEGARDE.broken(labctl, table) as seen:
        assert set(seen) == all_fails(table), seen


@pytest.mark.parametrize("group", SAUVEGARDE.groups)
def test_faults_show_as_they_say_and_their_cure_repairs_them(labctl: Installation, group: str) -> None:
    SAUVEGARDE.prove(labctl, group)
