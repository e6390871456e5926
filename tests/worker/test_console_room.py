"""Consoles over the worker's real socket: a ticket, a descriptor beside the answer, and every way that it ends."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from labctl.worker.client import OpenedConsole
from labctl.worker.console_room import Room
from labctl.worker.requests import AskLab, ConsoleTicket, Logout, OpenConsole, Reset
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone
from tests.lab.doubles import World, make_place
from tests.worker.machines import Machines
from tests.worker.offices import ALICE, BOB, Desk, make_labs, open_desk, wait_for

NODE = "desk"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, world = tmp_path_factory.mktemp("home"), World()
    make_labs(make_place(home, world), "alice", "bob")
    with open_desk(home, world, Room(Machines())) as found:
        yield found


def ask(desk: Desk, name: str, lab: str = ALICE, **more: Any) -> dict[str, Any]:
    """Return what opens a console, with its ticket."""
    words: dict[str, Any] = {"token": desk.tokens[name], "lab": lab, "node": NODE, "mode": ConsoleMode.TEXT, **more}
    ticket = desk.client.ask(ConsoleTicket(language="en", **words)).ticket
    return {"language": "en", "ticket": ticket, **words}


def open_one(desk: Desk, name: str, **more: Any) -> OpenedConsole:
    found = desk.client.open_console(OpenConsole(**ask(desk, name, **more)))
    found.stream.settimeout(20)
    found.control.settimeout(20)
    found.control.sendall(b"{}\n")
    return found


def refused(desk: Desk, request: Any) -> NotDone:
    with pytest.raises(NotDone) as caught:
        desk.client.open_console(request) if isinstance(request, OpenConsole) else desk.client.ask(request)
    return caught.value


def read_until(stream: socket.socket, wanted: bytes) -> bytes:
    seen = b""
    while wanted not in seen:
        seen += stream.recv(4096) or b"<end>"
        assert b"<end>" not in seen, seen
    return seen


def end_of(stream: socket.socket) -> bool:
    try:
        while stream.recv(4096):
            pass
    except ConnectionError:
        return True
    return True


def holders(desk: Desk) -> tuple[str, ...]:
    sheet = desk.client.ask(AskLab(token=desk.tokens["durand"], language="en", lab=ALICE))
    return next(node.holders for node in sheet.nodes if node.node == NODE)


def test_typing_reaches_the_machine_and_the_page_says_who_is_there(desk: Desk) -> None:
    console = open_one(desk, "alice", mode=ConsoleMode.SSH)
    console.stream.sendall(b"echo $((6*7))-here\n")
    read_until(console.stream, b"42-here")
    assert holders(desk) == ("Alice",)
    console.close()
    wait_for(lambda: holders(desk) == ())


def test_a_ticket_serves_once_and_in_its_own_session(desk: Desk) -> None:
    words = ask(desk, "alice")
    row = desk.office.accounts.find("alice")
    assert row
    other = desk.office.accounts.begin_session(row, "", must_choose=False).token
    assert refused(desk, OpenConsole(**{**words, "token": other})).refusal is Refusal.EXPIRED
    assert refused(desk, OpenConsole(**words)).refusal is Refusal.EXPIRED, "it is used up all the same"
    desk.client.open_console(OpenConsole(**ask(desk, "alice"))).close()


def test_a_ticket_opens_no_other_lab_machine_or_way(desk: Desk) -> None:
    for change in ({"lab": BOB}, {"node": "server"}, {"mode": ConsoleMode.GRAPHICS}, {"view_only": True}):
        error = refused(desk, OpenConsole(**{**ask(desk, "alice"), **change}))
        assert error.status in {403, 410}, change


def test_a_ticket_to_look_is_no_ticket_to_type(desk: Desk) -> None:
    words = ask(desk, "garde", view_only=True)
    assert refused(desk, OpenConsole(**{**words, "view_only": False})).status == 403
    words = ask(desk, "durand", view_only=True)
    assert refused(desk, OpenConsole(**{**words, "view_only": False})).status == 410


def test_somebody_elses_console_is_refused(desk: Desk) -> None:
    words: dict[str, Any] = {"token": desk.tokens["bob"], "lab": ALICE, "node": NODE, "mode": ConsoleMode.TEXT}
    assert refused(desk, ConsoleTicket(**words)).status == 403
    assert refused(desk, OpenConsole(ticket="x" * 43, **words)).status == 403
    typed: dict[str, Any] = {**words, "token": desk.tokens["garde"]}
    assert refused(desk, ConsoleTicket(**typed)).status == 403


def test_logging_out_cuts_a_console(desk: Desk) -> None:
    row = desk.office.accounts.find("alice")
    assert row
    token = desk.office.accounts.begin_session(row, "", must_choose=False).token
    console = open_one(desk, "alice", token=token)
    desk.client.ask(Logout(token=token))
    assert end_of(console.stream)
    assert b'"rights"' in read_until(console.control, b'"end"')
    console.close()


def test_a_reset_cuts_the_consoles_of_its_machines_only(desk: Desk) -> None:
    mine, other = (open_one(desk, "alice", node=node, mode=ConsoleMode.SSH) for node in (NODE, "server"))
    job = desk.client.ask(Reset(token=desk.tokens["alice"], lab=ALICE, nodes=(NODE,))).job
    assert end_of(mine.stream)
    desk.wait_job(job, desk.tokens["alice"])
    other.stream.sendall(b"echo still-$((1+1))\n")
    read_until(other.stream, b"still-2")
    mine.close()
    other.close()
