"""The head of saved states: what libvirt writes comes back byte for byte, everything else is told apart."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.hypervisor.saved_state import (
    HEADER,
    LARGEST_DATA,
    Compression,
    SavedState,
    StateDamaged,
    StateNotUsable,
    is_complete,
    load_saved_state,
    read_saved_state,
    write_header,
)

STATE = SavedState(2, True, Compression.RAW, "<domain/>", "<cookie/>", HEADER.size + 64)
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=200)


@st.composite
def states(draw: st.DrawFn) -> SavedState:
    state = SavedState(2, draw(st.booleans()), draw(st.sampled_from(Compression)), "", "", HEADER.size)
    fitted = state.with_xml(draw(TEXTS), draw(TEXTS | st.just("")))
    return replace(fitted, payload_offset=fitted.payload_offset + draw(st.integers(0, 100)))


@given(states(), st.binary(max_size=50))
def test_reading_is_the_inverse_of_writing(state: SavedState, memory: bytes) -> None:
    head = write_header(state)
    assert len(head) == state.payload_offset
    stream = io.BytesIO(head + memory)
    assert read_saved_state(stream) == state
    assert stream.read() == memory


@given(states(), st.data())
def test_no_part_of_a_head_is_taken_for_a_whole(state: SavedState, data: st.DataObject) -> None:
    head = write_header(state)
    with pytest.raises(StateDamaged):
        read_saved_state(io.BytesIO(head[: data.draw(st.integers(0, len(head) - 1))]))


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda rest: b"LibvirtQemudSave\x02\0\0\0" + rest))
def test_any_bytes_are_read_back_or_refused_in_words(raw: bytes) -> None:
    try:
        state = read_saved_state(io.BytesIO(raw))
    except (StateDamaged, StateNotUsable) as exc:
        assert exc.message  # noqa: PT017  either outcome is right
    else:
        assert raw.startswith(write_header(state))


@given(states(), TEXTS)
def test_another_xml_leaves_the_memory_at_its_place_if_there_is_room(state: SavedState, xml: str) -> None:
    changed = state.with_xml(xml)
    assert changed.payload_offset >= state.payload_offset
    assert read_saved_state(io.BytesIO(write_header(changed))) == changed
    needed = HEADER.size + len(xml.encode()) + 1 + (len(state.cookie.encode()) + 1 if state.cookie else 0)
    assert (changed.payload_offset == state.payload_offset) == (needed <= state.payload_offset)


def head(magic: bytes = b"LibvirtQemudSave", numbers: tuple[int, ...] = (2, 20, 1, 0, 10), order: str = "<") -> bytes:
    data = b"<domain/>\0<cookie/>\0"
    return struct.pack(f"{order}16s5I56s", magic, *numbers, bytes(56)) + data


def test_the_example_is_whole() -> None:
    assert read_saved_state(io.BytesIO(head())) == replace(STATE, payload_offset=HEADER.size + 20)


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (head(b"LibvirtQemudPart"), StateDamaged, "never completed"),
        (head(b"QEVM is memory!!"), StateDamaged, "another kind of file"),
        (b"", StateDamaged, "ends too early"),
        (head(numbers=(3, 20, 1, 0, 10)), StateNotUsable, r"not known here \(version 3\)"),
        (head(numbers=(1, 20, 1, 0, 10)), StateNotUsable, r"version 1\)"),
        (head(order=">"), StateNotUsable, "another byte order"),
        (head(numbers=(2, 20, 1, 7, 10)), StateNotUsable, r"compressed in a way that is not known here \(7\)"),
        (head(numbers=(2, 20, 2, 0, 10)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 0, 1, 0, 0)), StateDamaged, "makes no sense"),
        (head(numbers=(2, LARGEST_DATA + 1, 1, 0, 10)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 0xFFFFFFFF, 1, 0, 10)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 20, 1, 0, 20)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 20, 1, 0, 11)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 20, 1, 0, 0)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 19, 1, 0, 10)), StateDamaged, "makes no sense"),
        (head(numbers=(2, 21, 1, 0, 10)), StateDamaged, "ends too early"),
        (head().replace(b"<domain/>", b"<domai\xff/>"), StateDamaged, "is not text"),
        (head().replace(bytes(56), bytes(55) + b"\1"), StateNotUsable, "format that is not known here"),
    ],
)
def test_what_is_no_saved_state_is_told_in_words(raw: bytes, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read_saved_state(io.BytesIO(raw), "/gold/web")
    assert type(caught.value) is kind
    assert '"/gold/web"' in str(caught.value)


def test_a_text_that_does_not_fit_is_never_cut() -> None:
    with pytest.raises(ValueError, match="156"):
        write_header(replace(STATE, xml="x" * 60))
    with pytest.raises(ValueError, match="NUL"):
        write_header(replace(STATE, xml="NUL\0"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "web.save"
    with pytest.raises(StateDamaged, match=r"web\.save.*cannot be read"):
        load_saved_state(path)
    assert not is_complete(path)
    path.write_bytes(head(b"LibvirtQemudPart"))
    assert not is_complete(path)
    path.write_bytes(head())
    assert is_complete(path)
