"""A disk that is full: what is decided is still written down, with room that was kept for that."""

from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.exam.audit import Act, read_entries
from labctl.exam.freezing import freeze
from labctl.exam.session import Session
from labctl.exam.standing import Frozen
from tests.exam.doubles import World, conduct, open_session
from tests.exam.sessions import HandClock, make_session
from tests.exam.test_acts import Room, became, begin
from tests.small_disk import MIB, mount_small_disk


def test_a_freeze_is_written_down_on_a_full_disk(tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", "16M") as disk:
        clock = HandClock()
        session, world = make_session(disk.folder, clock), World(clock)
        open_session(session, world)
        room = Room(session, world, conduct(session, world))
        begin(room)
        for number in ("001", "002", "003"):  # the locks of each are there
            assert (session.folder / "locks" / f"{number}.lock").exists()
        before = session.read().seq
        disk.fill()
        written = 0
        while session.reserve.exists():  # the page that the log has is used up first
            session.note(Act.MESSAGE, "", text="x" * 500)
            written += 1
        assert written < 20
        assert became(freeze(room.conduct, (), "deadline")) == dict.fromkeys(("001", "002", "003"), "done")
        assert {one.frozen for one in session.read().candidates.values()} == {Frozen.YES}
        assert len(list(read_entries(session.audit))) == before + written + 9


def test_without_any_room_it_is_told_and_the_log_stays_whole(tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", "4M") as disk:
        session = make_session(disk.folder, HandClock())
        session.reserve.unlink()
        (disk.folder / "filler").write_bytes(bytes(MIB))
        disk.fill()
        fill_up(session)
        found = Session(session.folder, HandClock()).read()
        assert found.seq == len(list(read_entries(session.audit)))
        disk.grow("8M")
        session.note(Act.MESSAGE, "", text="again")
        assert session.read().seq == found.seq + 1


def fill_up(session: Session) -> None:
    """Write until it is told that there is no room."""
    with pytest.raises(LabctlError, match="No space left") as caught:
        write_many(session)
    assert caught.value.hint.startswith("df -h")


def write_many(session: Session) -> None:
    for _line in range(20):
        session.note(Act.MESSAGE, "", text="x" * 500)
