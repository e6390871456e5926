"""Probes of packages and backups: this machine's own packages, copies, and what backup programs print."""

import hashlib
import json
from pathlib import Path

import pytest

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
BORG = {"type": "backup", "tool": "borg", "repository": "ssh://b/./r", "file": "/srv/a", "hours": 24}


def restored(age: float = 3600, found: str = HASH, source: str = HASH) -> Reply:
    return Reply(0, out=json.dumps({"hash": found, "age": age}), then={"": Reply(0, out=source)})


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (restored(), Result.PASSED),
        (restored(age=25 * 3600), Result.FAILED),
        (restored(found="0"), Result.FAILED),
        (Reply(1, err="no archive", then={"": Reply(0, out=HASH)}), Result.FAILED),
        (Reply(2, err="passphrase supplied is incorrect"), Result.FAILED),
        (Reply(0, out=json.dumps({"hash": HASH, "age": 1}), then={"": Reply(1, err="gone")}), Result.UNKNOWN),
        (Reply(error="not installed: borg"), Result.UNKNOWN),
        (Reply(error="timeout"), Result.UNKNOWN),
    ],
)
def test_a_restore_is_judged_by_hash_and_age(reply: Reply, expected: Result) -> None:
    assert decided(BORG, reply) is expected


def test_what_a_person_would_type_restores_the_newest_archive() -> None:
    command = ask(make(BORG)).command
    assert command == (
        'borg extract --stdout ssh://b/./r::"$(borg list --last 1 --short ssh://b/./r)" srv/a | sha256sum'
    )
