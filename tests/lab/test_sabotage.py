"""Faults brought about, judged and cured, by real scripts and probes that run here instead of in a machine."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import LabctlError, Refused
from labctl.faults import FaultState, find_faults
from labctl.lab.sabotage import Sabotage
from labctl.monitor import Silent
from labctl.ssh import Answer, Login
from labctl.topology.faults import Fault
from labctl.topology.model import Check
from tests.lab.doubles import Fault as Crashes
from tests.lab.doubles import Guests, Machines, World, make_place
from tests.lab.test_golden import bring

LAB = "small-alice"
LATER = "(sleep 0.4; rm open; touch web) >/dev/null 2>&1 &"
TEXT = {"en": "x", "fr": "x"}


class ThisHost(Guests):
    """Runs what is sent to a machine here."""

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes, deadline: float) -> Answer:  # noqa: ARG002
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=deadline)
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def check(name: str, path: Path, *, negative: bool = False) -> Check:
    probe = {"type": "file", "path": str(path)}
    return Check.model_validate(
        {"id": name, "title": TEXT, "from": "desk", "probe": probe, "negative": negative,
         "competency": "B2.3.4", "pass": TEXT, "fail": TEXT}
    )  # fmt: skip


def fault(name: str, fixed: Sequence[str], inject: str, cure: str, cause: Path) -> Fault:
    return Fault.model_validate(
        {"id": name, "title": TEXT, "node": "desk", "competencies": ["B2.3.4"], "ticket": TEXT,
         "inject": f"cd {cause.parent}; {inject}",
         "detect": {"type": "file", "path": str(cause)}, "fixed": fixed,
         "cure": f"cd {cause.parent}; {cure}"},
        strict=False,
    )  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Sabotage]:
    """Give a lab with two services and a door that must stay shut, each a file in the folder `site`."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("web", "dns"):
        (site / name).touch()
    home = tmp_path / "home"
    place = make_place(home, World())
    bring(place, "alice")
    place = replace(place, guests=ThisHost(World(), Crashes()))
    checks = (check("web", site / "web"), check("dns", site / "dns"), check("shut", site / "open", negative=True))
    faults = (
        fault("no-web", ["web"], "rm web; touch cause", "rm cause; touch web", site / "cause"),
        fault("no-dns", ["dns"], "rm dns; touch cause2", "rm -f cause2; touch dns", site / "cause2"),
        fault("weak", ["dns"], "touch cause3", "rm cause3", site / "cause3"),
        fault("broken", ["dns"], "touch cause4; false; rm dns", "rm cause4", site / "cause4"),
        fault("slow", ["web"], "rm web; touch cause6", "rm cause6; touch open; " + LATER, site / "cause6"),
        fault("lazy", ["web"], "touch cause7; (sleep 0.8; rm web) >/dev/null 2>&1 &", "true", site / "cause7"),
        fault("greedy", ["web"], "cat >/dev/null; rm web; touch cause5", "true", site / "cause5"),
    )  # fmt: skip
    with Sabotage.open(place, LAB, Silent()) as sabotage:
        topology = sabotage.topology.model_copy(update={"checks": checks, "faults": faults})
        yield replace(sabotage, topology=topology, settle=1.0, pause=0.1)


def site(work: Sabotage) -> set[str]:
    return {path.name for path in (work.place.home.parent / "site").iterdir()}


def inject(work: Sabotage, *names: str) -> None:
    work.inject(find_faults(work.topology, names))


def states(work: Sabotage) -> dict[str, FaultState]:
    return {one.fault.id: one.state for one in work.diagnose()}


def test_a_fault_is_injected_repaired_by_hand_and_forgotten_when_it_is_cleared(work: Sabotage) -> None:
    assert states(work) == {}
    inject(work, "no-web")
    assert site(work) == {"dns", "cause"}
    assert states(work) == {"no-web": FaultState.PRESENT}
    folder = work.place.home.parent / "site"
    (folder / "web").touch()
    assert states(work) == {"no-web": FaultState.AROUND}
    (folder / "cause").unlink()
    assert states(work) == {"no-web": FaultState.REPAIRED}
    (folder / "open").touch()
    assert states(work) == {"no-web": FaultState.REGRESSED}
    (folder / "open").unlink()
    (folder / "cause").touch()
    (cleared,) = work.clear(find_faults(work.topology, ["no-web"]))
    assert cleared.state is FaultState.REPAIRED
    assert states(work) == {}


def test_two_faults_do_not_count_as_each_others_regression(work: Sabotage) -> None:
    inject(work, "no-web", "no-dns")
    (work.place.home.parent / "site" / "web").touch()
    (work.place.home.parent / "site" / "cause").unlink()
    assert states(work) == {"no-web": FaultState.REPAIRED, "no-dns": FaultState.PRESENT}


@pytest.mark.parametrize("again", ["no-web", "greedy"])
def test_a_fault_that_is_there_or_cannot_be_told_apart_changes_nothing(work: Sabotage, again: str) -> None:
    inject(work, "no-web")
    before = site(work)
    with pytest.raises(Refused, match="nothing was changed"):
        inject(work, again)
    assert site(work) == before
    assert set(work.present()) == {"no-web"}


def test_of_several_faults_none_is_injected_where_one_cannot_be(work: Sabotage) -> None:
    before = site(work)
    with pytest.raises(Refused, match=r"cannot be told from what is wrong already \(no-dns\)"):
        inject(work, "no-web", "no-dns", "weak")
    assert site(work) == before


def test_of_several_faults_only_those_that_do_not_show_are_taken_back(work: Sabotage) -> None:
    with pytest.raises(LabctlError, match='"weak" did not show on desk and was taken back: its checks still pass'):
        inject(work, "no-web", "weak")
    assert site(work) == {"dns", "cause"}
    assert set(work.present()) == {"no-web"}


class Busy(ThisHost):
    """A host that takes its time for everything that it is asked."""

    def run(self, login: Login, argv: Sequence[str], *, stdin: bytes, deadline: float) -> Answer:
        time.sleep(0.5)
        return super().run(login, argv, stdin=stdin, deadline=deadline)


def test_a_look_that_takes_long_is_not_the_last_one(work: Sabotage) -> None:
    """A service is still being stopped while a first look, longer than a change may take, is under way."""
    prober = replace(work.prober, guests=Busy(World(), Crashes()))
    inject(replace(work, prober=prober, settle=0.4), "lazy")
    assert site(work) == {"dns", "cause7"}


@pytest.mark.parametrize("name", ["weak", "broken"])
def test_a_fault_that_does_not_show_is_taken_back(work: Sabotage, name: str) -> None:
    before = site(work)
    with pytest.raises(LabctlError, match="did not show on desk and was taken back"):
        inject(work, name)
    assert site(work) == before
    assert work.present() == {}


def test_what_is_repaired_later_is_waited_for(work: Sabotage) -> None:
    """The cure starts a service that takes a moment; another check fails until then."""
    inject(work, "slow")
    (cleared,) = work.clear(find_faults(work.topology, ["slow"]))
    assert cleared.state is FaultState.REPAIRED
    assert site(work) == {"web", "dns"}


def test_what_its_cure_does_not_repair_stays_known(work: Sabotage) -> None:
    inject(work, "greedy")
    (found,) = work.clear(find_faults(work.topology, ["greedy"]))
    assert (found.state, found.failing) == (FaultState.PRESENT, ("web",))
    assert set(work.present()) == {"greedy"}


def test_a_script_cannot_swallow_the_rest_of_itself(work: Sabotage) -> None:
    inject(work, "greedy")
    assert site(work) == {"dns", "cause5"}


def test_a_machine_that_is_made_anew_has_no_fault_any_more(work: Sabotage) -> None:
    inject(work, "no-web")
    bring(make_place(work.place.home, world_of(work)), "alice", reset=("server",))
    assert set(work.present()) == {"no-web"}
    bring(make_place(work.place.home, world_of(work)), "alice", reset=("desk",))
    assert work.present() == {}


def world_of(work: Sabotage) -> World:
    assert isinstance(work.place.machines, Machines)
    return work.place.machines.world
