"""Probes of packages and backups: this machine's own packages, copies, and what backup programs print."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from labctl.checks import agent_system
from labctl.checks.decide import decide
from labctl.checks.model import Reply, Result
from labctl.checks.questions import ask
from labctl.checks.versions import is_older
from tests.checks.asking import make, outcomes
from tests.checks.test_network import decided


def test_packages_are_those_of_dpkg() -> None:
    probe = {"type": "package", "name": "dpkg"}
    found = outcomes(
        probe, {**probe, "name": "no-such-package"}, {**probe, "at_least": "1"}, {**probe, "at_least": "99"}
    )
    assert [one.result for one in found] == [Result.PASSED, Result.FAILED, Result.PASSED, Result.FAILED]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(0, out="installed 1.0"), Result.PASSED),
        (Reply(0, out="config-files 1.0"), Result.FAILED),
        (Reply(2, err="dpkg-query: error: failed to open package info file"), Result.UNKNOWN),
    ],
)
def test_a_removed_package_is_not_installed(reply: Reply, expected: Result) -> None:
    assert decided({"type": "package", "name": "nginx"}, reply) is expected


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"), ("1.0~rc1", "1.0"), ("1.0", "1.0a"), ("1.0", "1.0-1"), ("1.0-1", "1.0-1+deb13u1"),
        ("2.0", "1:1.0"), ("1.0a", "1.0+"), ("1.0-9", "1.1-1"),
    ],
)  # fmt: skip
def test_versions_are_ordered_as_dpkg_does(older: str, newer: str) -> None:
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(older, older)


def test_a_copy_is_the_same_as_its_source(tmp_path: Path) -> None:
    source, copy, other = (tmp_path / name for name in ("source", "copy", "other"))
    source.write_bytes(b"data" * 300_000)
    copy.write_bytes(source.read_bytes())
    other.write_bytes(source.read_bytes() + b"x")
    probe = {"type": "backup", "tool": "plain", "file": str(copy), "source": str(source), "hours": 1}
    found = outcomes(
        probe, {**probe, "file": str(other)}, {**probe, "file": str(tmp_path / "none")},
        {**probe, "source": str(tmp_path / "none")}, {**probe, "at": "elsewhere"},
    )  # fmt: skip
    assert [one.result for one in found] == [
        Result.PASSED, Result.FAILED, Result.FAILED, Result.UNKNOWN, Result.PASSED,
    ]  # fmt: skip


HASH = hashlib.sha256(b"data").hexdigest()
BORG = {"type": "backup", "tool": "borg", "repository": "ssh://b/./r", "file": "/srv/a", "hours": 24, "seconds": 60}


def restored(age: float = 3600, found: str = HASH, source: str = HASH, seconds: float = 12.3) -> Reply:
    return Reply(0, out=json.dumps({"hash": found, "age": age}), seconds=seconds, then={"": Reply(0, out=source)})


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (restored(), Result.PASSED),
        (restored(age=25 * 3600), Result.FAILED),
        (restored(seconds=61), Result.FAILED),
        (restored(found="0"), Result.FAILED),
        (Reply(1, err="no archive", then={"": Reply(0, out=HASH)}), Result.FAILED),
        (Reply(2, err="passphrase supplied is incorrect"), Result.FAILED),
        (Reply(0, out=json.dumps({"hash": HASH, "age": 1}), then={"": Reply(1, err="gone")}), Result.UNKNOWN),
        (Reply(error="not installed: borg"), Result.UNKNOWN),
        (Reply(error="timeout"), Result.UNKNOWN),
    ],
)
def test_a_restore_is_judged_by_hash_age_and_duration(reply: Reply, expected: Result) -> None:
    assert decided(BORG, reply) is expected


def test_what_a_person_would_type_restores_the_newest_archive() -> None:
    command = ask(make(BORG)).command
    assert command == (
        'borg extract --stdout ssh://b/./r::"$(borg list --last 1 --short ssh://b/./r)" srv/a | sha256sum'
    )


def test_a_restore_says_age_and_duration() -> None:
    check = make(BORG)
    assert decide(check, ask(check), restored(age=5400)).seen == (
        "same hash; age of the backup: 1.5 h; restored in 12 s"
    )


def test_a_lost_passphrase_is_told_as_what_it_is(tmp_path: Path) -> None:
    probe = {**BORG, "password_file": str(tmp_path / "none"), "source": str(tmp_path / "a")}
    (found,) = outcomes(probe)
    assert (found.result, str(tmp_path / "none") in found.seen) == (Result.FAILED, True)


def test_a_repository_that_hangs_is_given_up() -> None:
    start = time.monotonic()
    found = agent_system.hash_output(["sh", "-c", "sleep 60 & echo x; sleep 60"], {}, "2026-11-23T03:00:00", 0.5)
    assert found == {"error": "timeout"}
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("made", "zone"), [("2026-11-23T03:00:00.000000", "Europe/Paris"), ("2026-11-23T02:00:00.5Z", "UTC")]
)
def test_what_is_restored_is_hashed_with_its_age(made: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    found = agent_system.hash_output(["printf", "data"], {}, made, 20)
    facts = json.loads(found["out"])
    assert (found["code"], facts["hash"]) == (0, HASH)
    assert facts["age"] == pytest.approx(time.time() - 1795399200, abs=60)
    monkeypatch.undo()
    time.tzset()


def test_a_file_that_no_backup_holds_is_said() -> None:
    found = agent_system.hash_output(["false"], {}, "2026-11-23T03:00:00", 20)
    assert (found["code"], found["err"]) == (1, "the newest backup does not hold the file")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}\n',
         "Fatal: wrong password or no key found"),
        ('{"message":"Fatal: repository does not exist\\nIs there one?"}', "Fatal: repository does not exist"),
        ("Fatal: plain", "Fatal: plain"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_restic_says_in_json_is_read(said: str, shown: str) -> None:
    assert agent_system.restic_error(said) == shown


@pytest.mark.parametrize(("given", "expected"), [({}, 60), ({"seconds": 110}, 110)])
def test_a_command_may_be_given_more_time(given: dict[str, int], expected: int) -> None:
    assert ask(make({"type": "command", "run": ["borg", "list"], **given})).task["timeout"] == expected
