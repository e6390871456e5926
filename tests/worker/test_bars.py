"""A lab that an exam has closed: its owner does nothing there, others do, and consoles end."""

import threading
from pathlib import Path
from typing import Any

import pytest

from labctl.lab.barring import bar, unbar
from labctl.worker.bars import follow_bars
from labctl.worker.requests import Ask, AskLab, ConsoleTicket, Reset, RunChecks
from labctl.worker.values import ConsoleMode, Refusal
from labctl.worker.wire import NotDone
from tests.lab.doubles import World, make_place
from tests.worker.offices import ALICE, Desk, make_labs, open_desk, wait_for


def refused(desk: Desk, who: str) -> dict[str, Refusal | None]:
    """Return why each of some verbs is refused to somebody, by the gate that stands before all of them."""
    session = desk.office.accounts.find_session(desk.tokens[who])
    assert session
    caller = desk.office.caller(session, "10.0.0.1", "en")
    verbs = ("lab", "statement", "console", "console_view", "reset", "run_checks", "wake", "suspend")
    verdicts = {verb: desk.server.gate.judge(caller, verb, ALICE) for verb in verbs}
    return {verb: verdict.refusal if verdict else None for verb, verdict in verdicts.items()}


def test_the_owner_of_a_closed_lab_looks_and_does_nothing(tmp_path: Path) -> None:
    world = World()
    make_labs(make_place(tmp_path, world), "alice")
    with open_desk(tmp_path, world) as desk:
        wait_for(lambda: desk.office.watch.find(ALICE))
        before, trainer = refused(desk, "alice"), refused(desk, "durand")
        assert before["console"] is None
        bar(tmp_path, ALICE)
        now = refused(desk, "alice")
        acts = {"console", "console_view", "reset", "run_checks"}
        assert {verb for verb, why in now.items() if why is Refusal.NOT_NOW} >= acts
        assert now["lab"] is now["statement"] is None
        assert refused(desk, "durand") == trainer
        who: dict[str, Any] = {"token": desk.tokens["alice"], "language": "en", "lab": ALICE}
        desk.client.ask(AskLab(**who))
        requests: list[Ask[Any]] = [
            ConsoleTicket(**who, node="server", mode=ConsoleMode.TEXT), Reset(**who, nodes=()), RunChecks(**who)
        ]  # fmt: skip
        for request in requests:
            with pytest.raises(NotDone, match="this lab is closed"):
                desk.client.ask(request)
        unbar(tmp_path, ALICE)
        assert refused(desk, "alice") == before


def test_consoles_end_when_a_lab_is_closed_and_once_for_each_time(tmp_path: Path) -> None:
    bar(tmp_path, "dmz-bob")
    cut: list[str] = []
    ended = threading.Event()
    following = threading.Thread(target=follow_bars, args=(tmp_path, cut.append, ended.wait))
    following.start()
    try:
        wait_for(lambda: cut == ["dmz-bob"])
        bar(tmp_path, ALICE)
        wait_for(lambda: cut == ["dmz-bob", ALICE])
        unbar(tmp_path, ALICE)
        ended.wait(0.6)
        bar(tmp_path, ALICE)
        wait_for(lambda: cut == ["dmz-bob", ALICE, ALICE])
    finally:
        ended.set()
        following.join(5)
