"""A student asks for everything that there is: no answer key, no variant of others, no trace of a fault, no command."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl.classroom.labs import bring_up_labs
from labctl.classroom.wish import ClassWish
from labctl.lab.wish import Stop
from labctl.monitor import Silent
from labctl.store import StoredFault
from labctl.topology.load import load_topology
from labctl.worker.requests import (
    Ask,
    AskDrawing,
    AskFeedback,
    AskHint,
    AskJobs,
    AskLab,
    AskMessages,
    AskMyLabs,
    AskStatement,
    RunChecks,
    Whoami,
)
from labctl.worker.values import JobState, Model
from tests.lab.doubles import World, make_place
from tests.worker.offices import Desk, open_desk, pace
from tests.worlds import catalogue

LAB = "guarded-alice"
GUARDED = Path(__file__).with_name("guarded.yml")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, world = tmp_path_factory.mktemp("home"), World()
    place = make_place(home, world)
    wish = ClassWish(load_topology(GUARDED, catalogue()), GUARDED, ("alice",))
    assert all(result.ready for result in bring_up_labs(place, wish, pace, Silent(), Stop()))
    fault = StoredFault("key-stopped", "server", "2026-11-23T08:00:00+00:00", "durand", "seed-of-the-draw", frozenset())
    place.store.add_fault(LAB, fault)
    with open_desk(home, world) as found:
        yield found


def crawl(desk: Desk) -> str:
    """Return all that a student can read of their own lab."""
    who: dict[str, Any] = {"token": desk.tokens["alice"], "language": "en"}
    lab: dict[str, Any] = {**who, "lab": LAB}
    asked: list[Ask[Any]] = [
        Whoami(**who), AskMyLabs(**who), AskMessages(**who), AskJobs(**who), AskLab(**lab), AskStatement(**lab),
        AskDrawing(**lab), AskFeedback(**lab), AskJobs(**lab), AskHint(**lab, check="reach", n=1),
    ]  # fmt: skip
    found: list[Model] = [desk.client.ask(request) for request in asked]
    return "\n".join(json.dumps(one.model_dump(mode="json"), ensure_ascii=False) for one in found)


def test_nothing_of_the_answers_is_told(desk: Desk) -> None:  # SEC-25
    before = crawl(desk)
    job = desk.client.ask(RunChecks(token=desk.tokens["alice"], lab=LAB)).job
    assert desk.wait_job(job, desk.tokens["alice"]).state is JobState.DONE
    told = before + crawl(desk)
    assert LAB in told
    assert "Look at the cable." in told, "the first hint was asked for"
    for secret in ("KEY", "key-stopped", "seed-of-the-draw", "4242", str(desk.office.place.home)):
        assert secret not in told, secret
    kept = desk.office.place.store.kept_outcomes([LAB])[LAB]
    assert "4242" in str([one.evidence for one in kept]), "it is there to be told"
