import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.exam.audit import GENESIS, Act, BrokenLog, Entry, Step, appending, follow, read_entries
from tests.exam.sessions import HandClock


def append(path: Path, entry: Entry) -> None:
    with appending(path) as write_entry:
        write_entry(entry)


def write(path: Path, count: int) -> list[Entry]:
    clock, written, last = HandClock(), [], None
    for number in range(count):
        clock.go(1.2345678)
        entry = Entry(0, clock.read(), "prof", Act.MESSAGE, Step.NOTED, "001", {"text": f"n° {number} é", "n": [1, 2]})
        last = follow(last, entry)
        append(path, last)
        written.append(last)
    return written


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written = write(path, 5)
    assert list(read_entries(path)) == written
    assert [entry.seq for entry in written] == [1, 2, 3, 4, 5]
    assert [entry.prev for entry in written] == [GENESIS, *(entry.hash for entry in written[:-1])]
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_log_has_no_entries(tmp_path: Path) -> None:
    assert list(read_entries(tmp_path / "audit.jsonl")) == []


def test_what_a_crash_left_of_a_line_is_ignored_and_goes_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    written = write(path, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert list(read_entries(path)) == written[:2]
    again = follow(written[1], replace(written[2], seq=0))
    append(path, again)
    assert list(read_entries(path)) == [*written[:2], again]


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    written = write(path, 3)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    if content.endswith(b"\n"):
        with pytest.raises(BrokenLog) as caught:
            list(read_entries(path))
        assert 1 <= caught.value.line <= 3
        assert caught.value.exit_code == 6
    else:  # the end of the last line is gone: as after a crash, the line does not count
        assert list(read_entries(path)) == written[:2]


def test_a_line_taken_out_moved_or_written_anew_is_found(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, 4)
    first, second, third, fourth = path.read_bytes().splitlines(keepends=True)
    forged = json.loads(second)
    forged["who"] = "eve"
    wrong = json.dumps(forged, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    for lines, line in (
        ([first, third, fourth], 2), ([first, third, second, fourth], 2), ([second, third], 1),
        ([first, second, second], 3), ([first, wrong, third], 2), ([first, b"\n", second], 2),
        ([first, second.replace(b'"seq":2', b'"seq": 2')], 2),
    ):  # fmt: skip
        path.write_bytes(b"".join(lines))
        with pytest.raises(BrokenLog) as caught:
            list(read_entries(path))
        assert caught.value.line == line, lines
