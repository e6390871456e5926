"""Labs that nobody uses: a warning, then rest, never without a warning and never while somebody is there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from labctl.lab.status import LabStatus, NodeState, NodeStatus
from labctl.worker.idling import Idling
from labctl.worker.records import Records

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LAB = "dmz-alice"


def status(state: NodeState = NodeState.READY) -> LabStatus:
    return LabStatus(LAB, "dmz", "alice", "ready", (NodeStatus("web", state, ""),))


class Street:
    """One lab, and what was done about it."""

    def __init__(self, records: Records, minutes: int | None = 60) -> None:
        self.now = START
        self.idling = Idling(records, None if minutes is None else timedelta(minutes=minutes), lambda: self.now)
        self.lab = status()
        self.used = False
        self.done: list[str] = []

    def labs(self) -> tuple[LabStatus, ...]:
        return (self.lab,)

    def in_use(self, lab: str) -> bool:
        assert lab == LAB
        return self.used

    def warn(self, status: LabStatus, minutes: int) -> None:
        self.done.append(f"warn {status.owner} {minutes}")

    def suspend(self, status: LabStatus) -> None:
        self.done.append(f"suspend {status.name}")

    def after(self, minutes: int) -> list[str]:
        self.now = START + timedelta(minutes=minutes)
        self.done.clear()
        self.idling.look(self)
        return [*self.done]


def test_a_warning_comes_first_and_once(tmp_path: Path) -> None:
    street = Street(Records(tmp_path))
    assert street.after(49) == []
    assert street.after(51) == ["warn alice 9"]
    assert street.after(55) == []
    assert street.after(61) == [f"suspend {LAB}"]


def test_a_late_look_warns_before_it_suspends(tmp_path: Path) -> None:
    street = Street(Records(tmp_path))
    assert street.after(200) == ["warn alice 1"]


def test_a_visit_begins_the_time_anew(tmp_path: Path) -> None:
    records = Records(tmp_path)
    street = Street(records)
    assert street.after(55) == ["warn alice 5"]
    records.note_visit(LAB, (START + timedelta(minutes=56)).isoformat())
    assert street.after(61) == []
    assert street.after(107) == ["warn alice 9"]


def test_an_open_console_is_use(tmp_path: Path) -> None:
    street = Street(Records(tmp_path))
    street.used = True
    assert street.after(500) == []


def test_one_that_rests_already_is_left_alone(tmp_path: Path) -> None:
    street = Street(Records(tmp_path))
    street.lab = status(NodeState.PAUSED)
    assert street.after(500) == []


def test_without_a_time_nothing_ever_rests(tmp_path: Path) -> None:
    street = Street(Records(tmp_path), minutes=None)
    assert street.after(5000) == []
    assert street.idling.suspend_at(LAB, {}) == ""


def test_when_it_will_be_suspended_is_told(tmp_path: Path) -> None:
    street = Street(Records(tmp_path))
    assert street.idling.suspend_at(LAB, {}) == "2026-11-23T09:00:00+00:00"
