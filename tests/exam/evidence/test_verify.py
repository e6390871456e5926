"""What was changed in evidence or in the log is found, and said by name; nothing else is."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.exam.audit import Act, Step, follow, line_of
from labctl.exam.evidence.findings import Trouble
from labctl.exam.evidence.manifest import KEY, MANIFEST, SIGNATURE
from labctl.exam.evidence.verify import LOG, Verified, verify
from labctl.exam.seal import Cost, seal
from labctl.exam.session import Session
from labctl.exam.signing import fingerprint
from tests.exam.evidence.folders import collected, draft_of, open_up, write_files
from tests.exam.sessions import HandClock, make_session

T = Trouble


def troubles(found: Verified) -> set[tuple[str, str]]:
    return {(str(one.trouble), one.path) for one in found.findings}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return collected(tmp_path)


@pytest.fixture
def place(session: Session) -> Path:
    found = session.evidence("001")
    open_up(found)
    return found


def test_what_nobody_changed_is_right_wherever_it_lies(session: Session, tmp_path: Path) -> None:
    found = verify(session.folder)
    assert found.ok, found.findings
    assert found.candidates == ("001", "002")
    assert found.head == session.read().head
    assert found.files == 2 * 6 + 1
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(session.evidence("002"), elsewhere)
    assert verify(elsewhere).ok
    assert len(verify(elsewhere).keys) == 1


def test_evidence_is_read_only(session: Session) -> None:
    for path in (session.evidence("001"), *session.evidence("001").rglob("*")):
        assert not path.stat().st_mode & 0o222, path


def test_programs_of_any_host_verify_the_same(session: Session) -> None:
    folder = session.evidence("001")
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", KEY, "-rawin", "-in", MANIFEST, "-sigfile", SIGNATURE]
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode == 0
    assert subprocess.run(words, cwd=folder, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("name", ["disks/web.qcow2", "configuration/web.diff", "README.txt", "SHA256SUMS", KEY])
def test_a_flipped_bit_is_found(session: Session, place: Path, name: str) -> None:
    data = bytearray((place / name).read_bytes())
    data[len(data) // 2] ^= 1
    (place / name).write_bytes(data)
    assert ("changed", f"evidence/001/{name}") in troubles(verify(session.folder))
    assert ("changed", name) in troubles(verify(place))


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE])
def test_a_changed_manifest_or_signature_is_found(session: Session, place: Path, name: str) -> None:
    data = bytearray((place / name).read_bytes())
    at = data.find(b"2027") if name == MANIFEST else 3
    data[at] ^= 1
    (place / name).write_bytes(data)
    assert ("signature", f"evidence/001/{MANIFEST}") in troubles(verify(session.folder))


def test_files_that_are_gone_added_cut_or_links_are_found(session: Session, place: Path) -> None:
    (place / "configuration/web.diff").unlink()
    (place / "logs/extra").write_text("x")
    (place / "logs/web.console.log").unlink()
    (place / "logs/web.console.log").symlink_to("/etc/passwd")
    with (place / "disks/web.qcow2").open("ab") as file:
        file.truncate(1000)
    found = verify(session.folder)
    assert troubles(found) == {
        ("missing", "evidence/001/configuration/web.diff"), ("added", "evidence/001/logs/extra"),
        ("link", "evidence/001/logs/web.console.log"), ("size", "evidence/001/disks/web.qcow2"),
    }  # fmt: skip
    assert "1000" in next(one.text() for one in found.findings if one.trouble is T.SIZE)


def test_evidence_that_is_gone_as_a_whole_is_found(session: Session, place: Path) -> None:
    shutil.rmtree(place)
    assert troubles(verify(session.folder)) == {("evidence missing", "evidence/001")}
    (session.folder / "evidence/stray").write_text("x")
    assert ("added", "evidence/stray") in troubles(verify(session.folder))


def test_evidence_signed_anew_by_another_key_is_found(session: Session, place: Path, tmp_path: Path) -> None:
    other = collected(tmp_path / "other")
    shutil.rmtree(place)
    shutil.copytree(other.evidence("001"), place)
    found = troubles(verify(session.folder))
    assert ("other key", f"evidence/002/{KEY}") in found or ("other key", f"evidence/001/{KEY}") in found
    assert ("changed", f"evidence/001/{MANIFEST}") in found  # the log has the hash of the one that was collected


def test_the_key_and_the_head_of_the_sheet_are_compared(session: Session) -> None:
    pem = (session.evidence("001") / KEY).read_bytes()
    head = session.read().head
    key = fingerprint(pem)
    assert verify(session.folder, head=head[:16], key=f"{key[:4]} {key[4:8]}").ok
    assert ("other key", f"evidence/001/{KEY}") in troubles(verify(session.folder, key="0000"))
    assert ("log cut", LOG) in troubles(verify(session.folder, head="0" * 16))


def lines(session: Session) -> list[bytes]:
    return session.audit.read_bytes().splitlines(keepends=True)


def test_an_edited_entry_is_found_by_its_number(session: Session) -> None:
    found = lines(session)
    found[1] = found[1].replace(b"fire alarm", b"no alarm.")
    session.audit.write_bytes(b"".join(found))
    assert [(one.trouble, one.detail) for one in verify(session.folder).findings] == [(T.ENTRY_EDITED, "2")]


def test_an_entry_edited_with_its_hash_is_found(session: Session) -> None:
    from labctl.exam.audit import hash_of, parse

    found = lines(session)
    entry = parse(found[1])
    changed = type(entry)(**{**vars(entry), "who": "somebody else"})
    changed = type(entry)(**{**vars(changed), "hash": hash_of(changed)})
    found[1] = line_of(changed)
    session.audit.write_bytes(b"".join(found))
    assert [(one.trouble, one.detail) for one in verify(session.folder).findings] == [(T.ENTRY_ADDED, "3")]


def test_reordered_entries_are_found(session: Session) -> None:
    found = lines(session)
    found[1], found[2] = found[2], found[1]
    session.audit.write_bytes(b"".join(found))
    assert [(one.trouble, one.detail) for one in verify(session.folder).findings] == [(T.ENTRY_REORDERED, "2")]


def test_a_removed_or_unreadable_entry_is_found(session: Session) -> None:
    found = lines(session)
    session.audit.write_bytes(b"".join(found[:2] + found[3:]))
    assert [(one.trouble, one.detail) for one in verify(session.folder).findings] == [(T.ENTRY_MISSING, "3")]
    session.audit.write_bytes(b"".join([*found[:2], b"rubbish\n", *found[3:]]))
    assert [(one.trouble, one.detail) for one in verify(session.folder).findings] == [(T.ENTRY_UNREADABLE, "3")]


def test_a_log_that_was_cut_is_found_by_the_evidence(session: Session) -> None:
    found = lines(session)
    session.audit.write_bytes(b"".join(found[:3]))
    said = verify(session.folder)
    assert {one.trouble for one in said.findings} == {T.LOG_CUT}
    assert "evidence/002/MANIFEST.json" in " ".join(one.text() for one in said.findings)
    session.audit.unlink()
    assert ("missing", LOG) in troubles(verify(session.folder))


def test_a_log_written_anew_is_found_by_the_evidence(session: Session) -> None:
    from labctl.exam.audit import read_entries

    last, text = None, b""
    for entry in read_entries(session.audit):
        changed = {**entry.facts, "reason": "another"} if entry.act is Act.INCIDENT else entry.facts
        last = follow(last, type(entry)(**{**vars(entry), "facts": changed}))
        text += line_of(last)
    session.audit.write_bytes(text)
    assert {one.trouble for one in verify(session.folder).findings} == {T.LOG_OTHER}


def test_half_a_line_of_a_crash_is_no_change(session: Session) -> None:
    head = session.read().head
    with session.audit.open("ab") as file:
        file.write(b'{"act":"incident","bo')
    assert verify(session.folder, head=head).ok


def sealed(tmp_path: Path) -> Session:
    session = make_session(tmp_path, HandClock(), 1)
    (session.papers / "exam.yml").write_text("secret")
    with session.writing() as log:
        log.add(Act.PREPARE, Step.DONE)
    seal(session, "a long passphrase", {}, Cost(n=2))
    return session


def test_a_seal_is_verified_without_its_passphrase(tmp_path: Path) -> None:
    session = sealed(tmp_path)
    assert verify(session.folder).ok
    for name, trouble in (("bundle.bin", "changed"), ("manifest.sig", "signature"), ("manifest.json", "signature")):
        path = session.sealed / name
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        about = "manifest.json" if trouble == "signature" else name
        assert (trouble, f"sealed/{about}") in troubles(verify(session.folder)), name
        path.unlink()
        assert ("missing", f"sealed/{name}") in troubles(verify(session.folder))
        path.write_bytes(before)
    assert verify(session.folder).ok


def test_partial_evidence_is_named_as_such_and_checked(tmp_path: Path) -> None:
    session = make_session(tmp_path, HandClock(), 1)
    draft = draft_of(session, "001")
    write_files(draft)
    assert troubles(verify(session.folder)) == {("partial", "evidence/001.partial")}
    (draft.folder / "configuration/web.diff").write_text("other text...\n")
    assert ("changed", "evidence/001.partial/configuration/web.diff") in troubles(verify(session.folder))


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a//b", "a/./b", "", "a/../b", "a\0b"])
def test_a_manifest_that_leads_out_of_its_folder_is_none(session: Session, place: Path, path: str) -> None:
    data = json.loads((place / MANIFEST).read_bytes())
    data["files"][path] = data["files"]["README.txt"]
    (place / MANIFEST).write_text(json.dumps(data))
    assert ("no manifest", f"evidence/001/{MANIFEST}") in troubles(verify(session.folder))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"kind": 3}', b"null"])
def test_rubbish_as_a_manifest_is_told(session: Session, place: Path, content: bytes) -> None:
    (place / MANIFEST).write_bytes(content)
    assert ("no manifest", f"evidence/001/{MANIFEST}") in troubles(verify(session.folder))


def test_a_folder_without_evidence_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(LabctlError):
            verify(path)
