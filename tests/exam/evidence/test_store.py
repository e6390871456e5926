"""Evidence grows step by step: what is done stays, whatever stops the rest, and nothing foreign is touched."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.errors import ExitCode, LabctlError, Refused
from labctl.exam.evidence.manifest import MANIFEST
from labctl.exam.evidence.store import PARTIAL, PROGRESS, Partial, copy_evidence, open_draft, read_whole
from labctl.exam.evidence.verify import verify
from labctl.exam.session import Session
from labctl.images.copying import copy_disk
from tests.exam.evidence.folders import collect, draft_of, manifest_of, open_up, write_files
from tests.exam.sessions import HandClock, make_session
from tests.small_disk import SmallDisk, mount_small_disk

MIB = 1 << 20


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(tmp_path, HandClock(), 2)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    with mount_small_disk(tmp_path / "small", "16m") as disk:
        yield disk


def test_complete_evidence_is_left_as_it_is(session: Session) -> None:
    folder = collect(session, "001")
    assert open_draft(folder, "001") is None
    assert read_whole(folder, "001")
    assert not read_whole(folder, "002")


@pytest.mark.parametrize("what", ["file", "folder", "evidence of another", "partial"])
def test_what_is_in_the_way_is_refused_and_stays(session: Session, what: str) -> None:
    folder = session.evidence("002")
    if what == "evidence of another":
        shutil.copytree(collect(session, "001"), folder)
    elif what == "partial":
        folder = folder.with_name("002.partial")
        folder.mkdir()
        (folder / "notes").write_text("mine")
    elif what == "folder":
        folder.mkdir()
        (folder / "notes").write_text("mine")
    else:
        folder.write_text("mine")
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(Refused) as told:
        open_draft(session.evidence("002"), "002")
    assert told.value.exit_code is ExitCode.REFUSED
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_a_run_that_was_stopped_goes_on_after_the_steps_that_are_done(session: Session) -> None:
    draft = draft_of(session, "001")
    with draft.step("disks") as writing:
        writing.write("disks/web.qcow2", b"d" * 1000)
        writing.missing.append("no screen")
    (draft.folder / "disks/.half.tmp").write_bytes(b"of a killed run")
    again = draft_of(session, "001")
    assert list(again.steps) == ["disks"]
    assert not (draft.folder / "disks/.half.tmp").exists()
    write_files(again)
    whole = again.close(manifest_of(session, "001"), session.folder, session.evidence("001"))
    assert whole.facts["missing"] == []  # the step was done anew: `write_files` has one of this name
    assert verify(session.evidence("001")).ok


def test_what_could_not_be_had_is_in_the_manifest(session: Session) -> None:
    draft = draft_of(session, "001")
    with draft.step("machines") as writing:
        writing.missing.append("web: switched off")
    whole = draft.close(manifest_of(session, "001"), session.folder, session.evidence("001"))
    assert whole.facts["missing"] == ["machines: web: switched off"]


def test_a_step_whose_file_was_changed_is_done_anew(session: Session) -> None:
    draft = draft_of(session, "001")
    write_files(draft)
    (draft.folder / "configuration/web.diff").write_bytes(b"other")
    assert set(draft_of(session, "001").steps) == {"disks", "logs"}
    (draft.folder / PROGRESS).write_bytes(b"{")
    assert not draft_of(session, "001").steps


def test_a_crash_before_the_name_is_finished_by_the_next_run(session: Session) -> None:
    folder = collect(session, "001")
    folder.rename(folder.with_name("001.partial"))
    assert open_draft(folder, "001") is None
    assert verify(folder).ok


def test_a_full_disk_keeps_the_steps_before_and_says_so(session: Session, small: SmallDisk) -> None:
    final = small.folder / "001"
    draft = open_draft(final, "001")
    assert draft is not None
    with draft.step("configuration") as writing:
        writing.write("configuration/web.diff", b"+ a line\n")
    small.fill(left=MIB)
    with pytest.raises(Partial, match="disks") as told, draft.step("disks") as writing:
        writing.write("disks/web.qcow2", bytes(4 * MIB))
    assert told.value.exit_code is ExitCode.REFUSED
    found = verify(small.folder / f"001{PARTIAL}")
    assert [str(one.trouble) for one in found.findings] == ["partial"]
    assert found.findings[0].detail == "disks"
    assert found.files == 1
    small.grow("32m")
    again = open_draft(final, "001")
    assert again is not None
    assert list(again.steps) == ["configuration"]
    with again.step("disks") as writing:
        writing.write("disks/web.qcow2", bytes(4 * MIB))
    again.close(manifest_of(session, "001"), session.folder, final)
    assert verify(final).ok


def test_a_disk_that_qemu_or_cp_finds_full_is_the_same(small: SmallDisk, tmp_path: Path) -> None:
    source = tmp_path / "disk"
    source.write_bytes(os.urandom(8 * MIB))
    draft = open_draft(small.folder / "001", "001")
    assert draft is not None
    small.fill(left=2 * MIB)
    with pytest.raises(Partial), draft.step("disks") as writing:
        writing.make("disks/web.qcow2", lambda path: copy_disk(source, path))
    assert not list((draft.folder / "disks").iterdir())


def test_a_full_disk_at_the_very_end_is_partial_too(session: Session, small: SmallDisk) -> None:
    draft = open_draft(small.folder / "001", "001")
    assert draft is not None
    write_files(draft)
    small.fill()
    with pytest.raises(Partial):
        draft.close(manifest_of(session, "001"), session.folder, small.folder / "001")
    assert {one.detail for one in verify(small.folder / "001.partial").findings} == {"closing"}
    small.grow("32m")
    again = open_draft(small.folder / "001", "001")
    assert again is not None
    assert set(again.steps) == {"disks", "configuration", "logs"}


def test_no_room_from_the_start_is_refused_at_once(small: SmallDisk) -> None:
    small.fill()
    with pytest.raises(Refused):
        open_draft(small.folder / "001", "001")


def test_a_second_copy_is_whole_and_compared(session: Session, tmp_path: Path) -> None:
    folder = collect(session, "001")
    target = tmp_path / "usb" / "e6" / "001"
    assert copy_evidence(folder, target, "001", copy_disk)
    assert verify(target).ok
    assert not target.stat().st_mode & 0o222
    assert not copy_evidence(folder, target, "001", copy_disk)


def test_a_second_copy_that_was_stopped_is_made_anew(session: Session, tmp_path: Path) -> None:
    folder = collect(session, "001")
    half = tmp_path / "usb/001.partial"
    (half / "disks").mkdir(parents=True)
    (half / "disks/rest").write_bytes(b"half")
    assert copy_evidence(folder, tmp_path / "usb/001", "001", copy_disk)
    assert verify(tmp_path / "usb/001").ok


def test_a_second_copy_never_replaces_what_is_there(session: Session, tmp_path: Path) -> None:
    folder = collect(session, "001")
    target = tmp_path / "001"
    target.mkdir()
    (target / "photo").write_bytes(b"mine")
    with pytest.raises(Refused):
        copy_evidence(folder, target, "001", copy_disk)
    assert (target / "photo").read_bytes() == b"mine"


def test_a_copy_that_is_not_what_was_read_is_told(session: Session, tmp_path: Path) -> None:
    folder = collect(session, "001")

    def spoil(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes().replace(b"7080", b"7081"))

    with pytest.raises(LabctlError, match="configuration"):
        copy_evidence(folder, tmp_path / "copy", "001", spoil)
    assert not (tmp_path / "copy").exists()


def test_evidence_that_changed_while_nobody_looked_is_not_taken_for_whole(session: Session) -> None:
    folder = collect(session, "001")
    open_up(folder)
    data = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(data.replace(b"false", b"true "))
    with pytest.raises(Refused):
        open_draft(folder, "001")
