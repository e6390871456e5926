"""Whatever a client sends, cut wherever it may be: what acts on a machine does not pass who only looks."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.worker.rfb import ClientFilter, Malformed

HELLO = b"RFB 003.008\n\1"
HARMLESS = [
    st.binary(min_size=19, max_size=19).map(lambda body: b"\0" + body),
    st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=40).map(
        lambda found: struct.pack(f">BxH{len(found)}i", 2, len(found), *found)
    ),
    st.binary(min_size=9, max_size=9).map(lambda body: b"\3" + body),
    st.binary(min_size=9, max_size=9).map(lambda body: b"\x96" + body),
    st.binary(max_size=64).map(lambda body: struct.pack(">B3xIB", 248, 1, len(body)) + body),
]
ACTING = [
    st.binary(min_size=7, max_size=7).map(lambda body: b"\4" + body),
    st.binary(min_size=5, max_size=5).map(lambda body: b"\5" + body),
    st.binary(max_size=5000).map(lambda body: struct.pack(">B3xi", 6, len(body)) + body),
    st.binary(min_size=4, max_size=500).map(lambda body: struct.pack(">B3xi", 6, -len(body)) + body),
    st.binary(min_size=3, max_size=3).map(lambda body: b"\xfa" + body),
    st.lists(st.binary(min_size=16, max_size=16), max_size=4).map(
        lambda screens: struct.pack(">BxHHBx", 251, 800, 600, len(screens)) + b"".join(screens)
    ),
    st.binary(min_size=10, max_size=10).map(lambda body: b"\xff\0" + body),
    st.sampled_from([b"\xff\1\0\0", b"\xff\1\0\1", b"\xff\1\0\2" + bytes(6)]),
]
MESSAGES = st.lists(
    st.tuples(st.just(True), st.one_of(HARMLESS)) | st.tuples(st.just(False), st.one_of(ACTING)), max_size=30
)


def fed(sieve: ClientFilter, data: bytes, cuts: list[int]) -> bytes:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join(sieve.feed(data[start:end]) for start, end in pairwise(places))


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 100_000)), wish=st.sampled_from([b"\0", b"\1"]))
def test_who_only_looks_sends_nothing_that_acts(
    messages: list[tuple[bool, bytes]], cuts: list[int], wish: bytes
) -> None:
    sent = HELLO + wish + b"".join(message for _harmless, message in messages)
    wanted = HELLO + b"\1" + b"".join(message for harmless, message in messages if harmless)
    assert fed(ClientFilter(view_only=True), sent, cuts) == wanted


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 100_000)), wish=st.sampled_from([b"\0", b"\1"]))
def test_who_acts_is_shared_whatever_they_ask_for(
    messages: list[tuple[bool, bytes]], cuts: list[int], wish: bytes
) -> None:
    said = b"".join(message for _harmless, message in messages)
    assert fed(ClientFilter(view_only=False), HELLO + wish + said, cuts) == HELLO + b"\1" + said


@given(data=st.binary(max_size=400), view_only=st.booleans(), cuts=st.lists(st.integers(0, 1000)))
def test_nonsense_ends_or_waits_and_never_hurts(data: bytes, view_only: bool, cuts: list[int]) -> None:
    sieve = ClientFilter(view_only=view_only)
    try:
        assert len(fed(sieve, data, cuts)) <= len(data)
    except Malformed:
        return


def test_each_step_of_the_greeting_passes_when_it_comes() -> None:
    """The server speaks between them."""
    sieve = ClientFilter(view_only=True)
    assert [sieve.feed(part) for part in (b"RFB 003.008\n", b"\1", b"\0")] == [b"RFB 003.008\n", b"\1", b"\1"]


def test_an_old_client_chooses_no_security() -> None:
    sieve = ClientFilter(view_only=True)
    assert sieve.feed(b"RFB 003.003\n") + sieve.feed(b"\0") == b"RFB 003.003\n\1"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP",
        b"RFB 003.008\n\x13",
        HELLO + b"\1\xc8",
        HELLO + b"\1\xff\7\0\0",
        HELLO + b"\1\6\0\0\0\x7f\xff\xff\xff",
    ],
    ids=["no-vnc", "other-security", "unknown-kind", "unknown-of-qemu", "clipboard-of-2-GB"],
)
def test_what_no_client_sends_ends_the_connection(sent: bytes) -> None:
    with pytest.raises(Malformed):
        ClientFilter(view_only=True).feed(sent)
