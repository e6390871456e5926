"""Consoles through the whole portal: a browser's websocket, the web process, the worker, a machine, every refusal."""

import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from labctl.portal.relay import Silence
from labctl.worker.client import Client
from labctl.worker.values import ConsoleMode
from tests.portal.serving import NODE, Browser, Portal, open_portal, serving
from tests.worker.machines import HEIGHT, KEY, WIDTH
from tests.worker.offices import ALICE, BOB, wait_for

AWAY = "The machines of this host cannot be reached at the moment; what runs in them goes on."
HELLO = b"RFB 003.008\n\1"
ASK_ALL = b"\3\0" + bytes(4) + WIDTH.to_bytes(2, "big") + HEIGHT.to_bytes(2, "big")
A_DOWN = bytes([KEY, 1, 0, 0]) + (97).to_bytes(4, "big")


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with open_portal(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture
def alice(portal: Portal) -> Browser:
    wait_for(lambda: viewers(portal) == 0)  # what an earlier test had open is closed
    return portal.browser("alice")


def viewers(portal: Portal) -> int:
    room = portal.desk.office.consoles
    assert room
    return sum(len(names) for lab in (ALICE, BOB) for names in room.holders(lab).values())


@pytest.mark.parametrize("mode", ["text", "ssh"])
def test_what_is_typed_in_a_terminal_comes_back(alice: Browser, mode: str) -> None:
    with alice.connect(mode) as way:
        assert alice.notice(way, "open")["open"] == {"node": NODE, "mode": mode, "look": False}
        way.send("echo é$((6*7))à\n".encode())
        assert alice.sees(way, "é42à".encode())


def test_a_screen_speaks_vnc_and_is_shared(portal: Portal, alice: Browser) -> None:
    with alice.connect("graphics") as way:
        alice.sees(way, b"RFB 003.008\n")
        way.send(HELLO + b"\0" + ASK_ALL + A_DOWN)
        alice.sees(way, b"\1\2\3\0")
        assert portal.machines.screens[-1].shared, "whatever the page asks for"


def test_a_trainer_looks_and_nothing_acts(portal: Portal, alice: Browser) -> None:
    trainer = portal.browser("durand")
    with trainer.connect("graphics", look=True) as way:
        trainer.notice(way, "open")
        way.send(HELLO + b"\1" + A_DOWN + ASK_ALL)
        assert portal.machines.screens[-1].wait(lambda found: found == [ASK_ALL])
    with alice.connect("text") as own, trainer.connect("text", look=True) as way:
        alice.sees(own, b"#")
        trainer.notice(way, "open")
        way.send(b"echo $((7*9))\n")
        own.send(b"echo $((8*8))\n")
        assert b"63" not in trainer.sees(way, b"64") + alice.sees(own, b"64")
        people = [notice["people"] for notice in alice.notices if notice.get("people")]
        assert people[-1] == [{"name": "Durand", "mode": "text", "view_only": True}]


def test_a_page_tells_its_size(portal: Portal, alice: Browser) -> None:
    with alice.connect("ssh") as way:
        alice.notice(way, "open")
        way.send('{"columns": 132, "rows": 43}')
        wait_for(lambda: portal.machines.shells[-1].sizes == [(132, 43)])


def refused(browser: Browser, mode: str = "text", **more: object) -> int:
    with pytest.raises(InvalidStatus) as caught:
        browser.connect(mode, **more)  # type: ignore[arg-type]
    return int(caught.value.response.status_code)


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Cookie": "a=b"}],
    ids=["other-site", "no-site", "browser-says-so", "no-session"],
)
def test_a_socket_of_another_site_or_of_nobody_is_refused(alice: Browser, headers: dict[str, str]) -> None:  # SEC-19
    assert refused(alice, headers=headers) == 403


def test_a_ticket_is_for_one_console_of_one_person_once(portal: Portal, alice: Browser) -> None:  # SEC-19
    ticket = alice.ticket("text")
    with alice.connect("text", ticket) as way:
        alice.notice(way, "open")
    for browser, mode, again in (
        (alice, "text", ticket),
        (alice, "text", "x" * 43),
        (alice, "ssh", alice.ticket("text")),
        (portal.browser("bob"), "text", alice.ticket("text")),
        (portal.browser("durand"), "text", alice.ticket("text")),
    ):
        with browser.connect(mode, again) as way:
            said = browser.notice(way, "refused")
            assert said["refused"]
            assert again not in said["refused"]
    assert refused(alice, ticket="y" * 200) == 403


def test_a_ticket_is_given_to_whom_it_may_be(portal: Portal, alice: Browser) -> None:
    assert alice.ask_ticket("text").status_code == 200
    bob = portal.browser("bob")
    assert bob.ask_ticket("text").status_code == 403
    assert bob.ask_ticket("text").json()["refused"]
    assert alice.ask_ticket("text", csrf="").status_code == 403
    assert alice.ask_ticket("telnet").status_code == 404
    assert alice.ask_ticket("text", node="nowhere").status_code == 404
    assert portal.browser("garde").ask_ticket("text").status_code == 403
    assert portal.browser("garde").ask_ticket("text", look="1").status_code == 200


def test_a_console_that_somebody_holds_can_be_taken_over(portal: Portal, alice: Browser) -> None:
    portal.machines.held = True
    with alice.connect("text") as way:
        assert alice.notice(way, "refused")["held"]
    with alice.connect("text", take_over="1") as way:
        alice.sees(way, b"#")
        portal.machines.streams[-1].stop()
        assert alice.notice(way, "end")["end"] == "taken_over"
        with pytest.raises(ConnectionClosed):
            way.recv(10)


def test_a_right_that_ends_cuts_the_websocket(portal: Portal, alice: Browser) -> None:  # SEC-19
    room = portal.desk.office.consoles
    assert room
    for mode in ConsoleMode:
        with alice.connect(mode) as way:
            alice.notice(way, "open")
            began = time.monotonic()
            room.cut(account="alice")
            assert alice.notice(way, "end")["end"] == "rights"
            assert time.monotonic() - began < 2


@pytest.mark.parametrize("mode", ConsoleMode)
def test_the_worker_goes_and_the_page_may_try_again(tmp_path: Path, mode: ConsoleMode) -> None:  # F-37
    """A machine that ends its console has a sentence; a worker that is started again has none, and comes back."""
    with open_portal(tmp_path) as portal:
        alice = portal.browser("alice")
        with alice.connect(mode) as way:
            alice.notice(way, "open")
            portal.desk.server.stop()
            with pytest.raises(ConnectionClosed) as caught:
                alice.notice(way, "end")
            assert caught.value.rcvd
            assert caught.value.rcvd.code == 1012
            assert alice.ask_ticket(mode).status_code == 503


@pytest.mark.parametrize("mode", ["graphics", "text"])
def test_a_machine_goes_and_the_page_is_told(portal: Portal, alice: Browser, mode: str) -> None:
    with alice.connect(mode) as way:
        alice.notice(way, "open")
        portal.machines.go_off()
        said = "The machine is off. The page of the lab can switch it on again."
        assert alice.notice(way, "end") == {"end": "stopped", "said": said}
    portal.machines.running = True


def test_a_libvirt_that_goes_away_is_told_and_the_page_may_try_again(portal: Portal, alice: Browser) -> None:  # F-10
    with alice.connect("text") as way:
        alice.sees(way, b"#")
        portal.machines.streams[-1].libvirt = False
        portal.machines.streams[-1].stop()
        said = alice.notice(way, "refused")
        assert (said["away"], said["refused"]) == (True, AWAY)


def refusals(portal: Portal) -> list[tuple[str, str, str, str, str]]:
    lines = portal.desk.office.records.lines()
    return [(one.who, one.what, one.lab, one.detail, one.address) for one in lines if one.refused]


def test_a_page_that_says_nothing_any_more_is_let_go_and_logged(portal: Portal) -> None:  # F-36
    before = len(refusals(portal))
    with serving(Client(portal.desk.client.path), silence=Silence(longest=0.5, pulse=0.1)) as address:
        alice = replace(portal.browser("alice"), address=address)
        with alice.connect("text") as way:
            alice.sees(way, b"#")
            assert alice.notice(way, "ping")
            wait_for(lambda: viewers(portal) == 0)
            wait_for(lambda: len(refusals(portal)) > before)
            assert refusals(portal)[0] == ("alice", "console", ALICE, f"{NODE} text gone", "127.0.0.1")
    assert len(refusals(portal)) == before + 1


@pytest.mark.parametrize("head", ["GET /labs HTTP/1.1\r\nHost: ", "GET /labs HTTP/1.1\r\nUpgrade: webs"])
def test_a_head_that_never_ends_is_answered_let_go_and_logged(
    portal: Portal, caplog: pytest.LogCaptureFixture, head: str
) -> None:  # F-36
    with (
        caplog.at_level(logging.WARNING, "labctl.portal"),
        serving(Client(portal.desk.client.path), patience=0.5) as address,
        connect(address) as half, connect(address) as silent,
    ):  # fmt: skip
        half.sendall(head.encode())
        answer = read_all(half)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert "La demande n'est pas arrivée à temps" in answer.decode()
        assert read_all(silent) == b"", "a browser that has nothing to ask yet gets no words"
    assert [record.getMessage() for record in caplog.records] == ["refused: 1, the last one too_slow, from 127.0.0.1"]


def test_a_second_request_has_its_time_too(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is kept alive, waits for longer than a head may take, asks, and then does not end its head."""
    with (
        caplog.at_level(logging.WARNING, "labctl.portal"),
        serving(Client(portal.desk.client.path), patience=1.0) as address, connect(address) as way,
    ):  # fmt: skip
        whole = b"GET /static/icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _turn in range(2):
            way.sendall(whole)
            assert b"</svg>" in read_until(way, b"</svg>")
            time.sleep(1.5)
        way.sendall(whole[:30])
        assert b" 408 " in read_all(way)
    assert len(caplog.records) == 1


def connect(address: str) -> socket.socket:
    where = urlsplit(address)
    return socket.create_connection((where.hostname or "", where.port or 0), timeout=30)


def read_until(way: socket.socket, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        chunk = way.recv(1 << 16)
        assert chunk, found
        found += chunk
    return found


def read_all(way: socket.socket) -> bytes:
    found = b""
    while chunk := way.recv(1 << 16):
        found += chunk
    return found


def test_a_half_open_websocket_holds_nothing(portal: Portal, alice: Browser) -> None:  # F-36
    """A handshake that never ends, and a page whose cable is pulled while the machine shows a lot."""
    with connect(alice.address) as idle:
        idle.sendall(b"GET /labs HTTP/1.1\r\n")
        with alice.connect("ssh") as way:
            way.send(b"yes\n")
            alice.sees(way, b"y\r\ny")
            way.socket.shutdown(socket.SHUT_RDWR)
            wait_for(lambda: viewers(portal) == 0)


@pytest.mark.parametrize("sent", ["{", '{"columns": 9999999, "rows": 1}', '{"who": 1}', "[]", "\0"])
def test_nonsense_ends_the_console_and_is_logged(portal: Portal, alice: Browser, sent: str) -> None:
    with alice.connect("text") as way:
        alice.notice(way, "open")
        way.send(sent)
        assert alice.notice(way, "end")["end"] == "nonsense"
    wait_for(lambda: refusals(portal)[0][3] == f"{NODE} text nonsense")
    wait_for(lambda: viewers(portal) == 0)


def test_no_message_is_larger_than_it_may_be(portal: Portal, alice: Browser) -> None:
    with alice.connect("text") as way:
        alice.sees(way, b"#")
        way.send(bytes(1 << 20))
        with pytest.raises(ConnectionClosed) as caught:
            alice.sees(way, b"never shown")
        assert caught.value.rcvd
        assert caught.value.rcvd.code == 1009
    wait_for(lambda: viewers(portal) == 0)


@pytest.mark.parametrize("mode", ConsoleMode)
def test_the_page_has_what_its_script_needs(portal: Portal, alice: Browser, mode: ConsoleMode) -> None:
    page = alice.get(f"{alice.place()}?mode={mode}")
    assert page.status_code == 200
    assert f'data-mode="{mode}"' in page.text
    assert 'data-look=""' in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert ("nonce-" in policy) is (mode is not ConsoleMode.GRAPHICS)
    trainer = portal.browser("durand").get(f"{alice.place()}?mode={mode}&look=1").text
    assert 'data-look="1"' in trainer
    assert "Take part" in trainer
    assert 'id="paste"' not in trainer
    assert 'data-look=""' in alice.get(f"{alice.place()}?mode={mode}&look=1").text, "a student's console is theirs"
    assert 'data-look="1"' in portal.browser("garde").get(f"{alice.place()}?mode={mode}").text


def test_pages_of_no_console_are_not_there(portal: Portal, alice: Browser) -> None:
    assert alice.get(f"{alice.place()}?mode=telnet").status_code == 404
    assert alice.get(f"{alice.place('nowhere')}?mode=text").status_code == 404
    assert portal.browser("bob").get(f"{alice.place()}?mode=text").status_code == 403
