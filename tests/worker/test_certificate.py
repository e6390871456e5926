"""Certificates: one of our own for the names of the host, and the school's, looked at before it is used."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labctl.errors import LabctlError, Refused
from labctl.worker.certificate import LASTS, ensure_certificate, host_names, lend_to, read_certificate

NAMES = ("localhost", "labs.school.example", "127.0.0.1", "::1")


def test_one_of_our_own_is_for_the_names_and_kept(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, NAMES)
    assert made.names == NAMES
    assert not made.own
    assert made.ends - datetime.now(UTC) < timedelta(days=LASTS)
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert ensure_certificate(tmp_path, NAMES[:2]).fingerprint == made.fingerprint
    assert ensure_certificate(tmp_path, (*NAMES, "10.0.0.7")).fingerprint != made.fingerprint
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    one, other = ensure_certificate(tmp_path / "one", NAMES), ensure_certificate(tmp_path / "other", NAMES)
    with pytest.raises(Refused, match="not that of"):
        read_certificate(one.chain, other.key)


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nothing", encoding="utf-8")
    for chain in (tmp_path / "x", tmp_path / "missing"):
        with pytest.raises(LabctlError, match="cannot be read"):
            read_certificate(chain, tmp_path / "x")


def test_the_web_process_gets_a_copy_for_itself_alone(tmp_path: Path) -> None:
    made = ensure_certificate(tmp_path, NAMES)
    lent = lend_to(made, tmp_path, os.geteuid(), os.getegid())
    assert lent.key != made.key
    assert lent.key.read_bytes() == made.key.read_bytes()
    assert lent.key.stat().st_mode & 0o777 == 0o600
    assert lent.fingerprint == made.fingerprint


def test_the_host_knows_its_names_without_asking() -> None:
    names = host_names()
    assert {"localhost", "127.0.0.1"} <= {*names}
    assert len(names) == len(set(names))
