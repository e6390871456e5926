"""How many labs fit, from facts alone; then from a golden lab and this very host."""

import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from labctl.classroom.capacity import (
    DISK_BYTES,
    DISK_RESERVE,
    QEMU_BYTES,
    RESERVE,
    Forecast,
    HostSupplies,
    LabNeeds,
    Resource,
    Share,
    count_cpus,
    count_subnets,
    disk_growth,
    expect_lab_seconds,
    forecast,
    forecast_labs,
    lab_memory,
    read_needs,
)
from labctl.cli.forecast import print_forecast, warnings
from labctl.doctor.limits import ClassLimits, Supply
from labctl.golden import golden_folder, golden_id, golden_parts
from labctl.lab.estimate import class_work, clone_work, gate_work
from labctl.lab.frozen import Frozen
from labctl.plan.observed import DomainState, Observed
from labctl.store import Store
from labctl.topology.load import load_topology
from labctl.topology.model import Topology
from tests.lab.doubles import World, make_place
from tests.worlds import catalogue, converged, dmz, plan

MIB, GIB = 1 << 20, 1 << 30
SMALL = Path(__file__).parents[1] / "lab" / "small.yml"

LAB = LabNeeds(
    memory=GIB, full_memory=2 * GIB, disk=768 * MIB, cpus=3, machines=3, subnets=1, links=13
)  # what a lab of three machines takes
HOST = HostSupplies(
    memory=400 * GIB,
    total_memory=512 * GIB,
    disk=2000 * GIB,
    cores=64,
    cpus_running=0,
    subnets=4096,
    limits=ClassLimits(
        libvirt_files=Supply(30, 8192), log_files=Supply(12, 16384), tasks=Supply(300, 32768), watches=Supply(8, 1024)
    ),
)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


def share(found: Forecast, resource: Resource) -> Share:
    return next(one for one in found.shares if one.resource is resource)


def small() -> Topology:
    return load_topology(SMALL, catalogue())


def test_a_class_that_fits() -> None:
    found = forecast_labs(24, LAB, HOST)
    assert (found.fits, found.slow, found.may_overflow) == (24, False, False)
    assert found.explain() == "24 wanted, 24 fit"


def test_memory_stops_a_class_with_the_numbers() -> None:  # F-26
    found = forecast_labs(24, LAB, replace(HOST, memory=22 * GIB, total_memory=24 * GIB))
    assert (found.fits, found.largest) == (21, 21)
    assert found.limiting is not None
    assert found.limiting.resource is Resource.MEMORY
    assert found.explain() == "24 wanted, 21 fit: each takes 1024 MiB of memory, 21.0 GiB are free"
    assert found.may_overflow  # 48 GiB if every machine fills its memory


SHORTAGES: list[tuple[Resource, dict[str, object], int]] = [
    (Resource.MEMORY, {"memory": RESERVE + GIB - 1}, 0),
    (Resource.MEMORY, {"memory": RESERVE + 5 * GIB}, 5),
    (Resource.DISK, {"disk": DISK_RESERVE - 1}, 0),
    (Resource.DISK, {"disk": DISK_RESERVE + 10 * 768 * MIB}, 10),
    (Resource.SUBNETS, {"subnets": 7}, 7),
    (Resource.SUBNETS, {"subnets": 0}, 0),
    (Resource.LIBVIRT_FILES, {"limits": ClassLimits(libvirt_files=Supply(100, 1024))}, 38),  # 924 // 24
    (Resource.LIBVIRT_FILES, {"limits": ClassLimits(libvirt_files=Supply(100, 1024), files_each=100)}, 3),
    (Resource.LOG_FILES, {"limits": ClassLimits(log_files=Supply(1000, 1024))}, 2),
    (Resource.TASKS, {"limits": ClassLimits(tasks=Supply(8900, 9000))}, 4),
    (Resource.WATCHES, {"limits": ClassLimits(watches=Supply(120, 128))}, 8),
    (Resource.WATCHES, {"limits": ClassLimits(watches=Supply(200, 128))}, 0),
]


@pytest.mark.parametrize(("resource", "changes", "fits"), SHORTAGES)
def test_each_resource_can_be_the_limit(resource: Resource, changes: dict[str, object], fits: int) -> None:  # F-46
    found = forecast_labs(200, LAB, replace(HOST, **changes))  # type: ignore[arg-type]  # test data by name
    assert (found.largest, found.fits) == (fits, fits)
    assert found.limiting is not None
    assert found.limiting.resource is resource
    assert found.explain().startswith(f"200 wanted, {fits} fit: each takes ")


def test_few_processors_warn_and_do_not_refuse() -> None:
    found = forecast_labs(24, LAB, replace(HOST, cores=2, cpus_running=3))
    assert (found.fits, found.slow) == (24, True)
    assert share(found, Resource.CPUS).fits == 4  # 16 at most, 3 run
    assert "75 virtual processors on 2 cores: slow when everybody works at once" in warnings(found)
    assert not forecast_labs(4, LAB, replace(HOST, cores=2, cpus_running=3)).slow


def test_who_could_have_more_of_the_memory_is_told_how() -> None:
    scarce = replace(HOST, memory=8 * GIB)
    assert forecast_labs(24, LAB, replace(scarce, mergeable=True)).hint == "sudo labctl doctor --ksm on"
    for host in (scarce, replace(HOST, disk=8 * GIB, mergeable=True)):
        assert forecast_labs(24, LAB, host).hint == "labctl plan"


def test_merged_memory_lets_more_labs_in() -> None:
    alone = replace(HOST, memory=RESERVE + 10 * GIB)
    merged = replace(alone, further=0.45)
    assert forecast_labs(99, LAB, alone).largest == 10
    assert forecast_labs(99, LAB, merged).largest == 21  # 1 + 9 / 0.45
    assert forecast_labs(99, LAB, replace(merged, memory=RESERVE + GIB - 1)).largest == 0  # the first is never merged


def test_what_the_host_does_not_tell_is_no_limit() -> None:
    found = forecast_labs(24, replace(LAB, subnets=0), replace(HOST, limits=ClassLimits()))
    assert {one.resource for one in found.shares} == {Resource.MEMORY, Resource.DISK, Resource.CPUS, Resource.LINKS}
    endless = ClassLimits(libvirt_files=Supply(30, 2**62))
    assert share(forecast_labs(24, LAB, replace(HOST, limits=endless)), Resource.LIBVIRT_FILES).fits is None
    assert forecast_labs(24, replace(LAB, memory=0), HOST).fits == 24  # an odd golden lab without memory


def test_nothing_wanted_fits_everywhere() -> None:
    empty = replace(HOST, memory=0, disk=0, subnets=0)
    assert (forecast_labs(0, LAB, empty).fits, forecast_labs(1, LAB, empty).fits) == (0, 0)


def test_json_has_stable_keys_and_plain_numbers() -> None:
    document = json.loads(json.dumps(forecast_labs(24, LAB, replace(HOST, memory=22 * GIB)).to_dict()))
    assert {"type": "forecast", "wanted": 24, "fits": 21, "largest": 21, "limit": "memory"}.items() <= document.items()
    assert document["seconds"] is None
    assert document["resources"][0] == {
        "resource": "memory", "unit": "bytes", "need": GIB, "further": GIB, "free": 21 * GIB, "fits": 21,
        "refuses": True,
    }  # fmt: skip


def test_people_get_a_table_the_limit_the_largest_class_and_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    host = replace(HOST, memory=11 * GIB, total_memory=16 * GIB, cores=2, further=0.45, lab_seconds=8.5)
    print_forecast(forecast_labs(24, LAB, host), existing=2)
    shown = capsys.readouterr().out
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0] == "24 wanted, 21 fit: each takes 1024 MiB of memory, 10.0 GiB are free"
    memory = next(line for line in lines if line.startswith("memory"))
    assert "1024 MiB, then 460 MiB (KSM)" in memory
    assert memory.endswith("← the limit")
    assert next(line for line in lines if line.startswith("bridges")).split()[-3:] == ["no", "limit", "—"]
    assert "the largest class that fits: 23 labs" in lines
    assert "72 virtual processors on 2 cores: slow when everybody works at once" in lines
    assert "if every machine fills its memory, 24 labs take 48.0 GiB of the host's 16.0 GiB" in lines
    assert lines[-1] == "estimate from this host's past: 3:24"


def test_one_lab_that_fits_needs_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_forecast(forecast_labs(1, LAB, HOST), existing=0)
    assert capsys.readouterr().out == "1 wanted, 1 fit\n"


def test_subnets_are_counted_where_they_overlap_the_pool() -> None:
    assert count_subnets([]) == 0
    two = [IPv4Network("198.18.0.0/27"), IPv4Network("198.18.0.32/27")]
    assert count_subnets([*two, two[0], IPv4Network("192.168.0.0/16")]) == 2
    assert count_subnets([IPv4Network("198.18.1.5/32"), IPv4Network("198.18.1.0/24")]) == 8
    assert count_subnets([IPv4Network("198.0.0.0/8")]) == 4096
    assert count_subnets([IPv4Network("0.0.0.0/0")]) == 0  # the default route is no network of anybody


def test_running_processors_are_counted() -> None:
    seen = converged(plan())
    assert count_cpus(seen, dmz()) == sum(node.cpus for node in dmz().nodes.values())
    assert count_cpus(seen, small()) == len(seen.domains)  # one each for machines of another topology
    off = tuple(replace(domain, state=DomainState.STOPPED, tag=None) for domain in seen.domains)
    assert count_cpus(Observed(domains=off), dmz()) == 0


def test_time_is_estimated_from_this_hosts_past(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert expect_lab_seconds(store, "dmz", 3, 2) is None
    store.add_timing(clone_work(3), 6.0)
    assert expect_lab_seconds(store, "dmz", 3, 2) is None
    store.add_timing(gate_work("dmz"), 4.0)
    assert expect_lab_seconds(store, "dmz", 3, 2) == 5.0  # single labs, two at a time
    store.add_timing(class_work("dmz"), 8.0)
    assert expect_lab_seconds(store, "dmz", 3, 2) == 8.0  # a class is worth more


def test_a_golden_lab_and_this_host_give_a_forecast(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    topology = small()
    assert forecast(place, topology, 3) is None
    name = golden_id(topology, golden_parts(place, topology))
    golden = Frozen(name, topology.name, golden_folder(place) / name, "", {})
    for node in topology.nodes:
        golden.state(node).parent.mkdir(parents=True, exist_ok=True)
        golden.state(node).write_bytes(b"x" * 1000)
    golden.write({})
    assert lab_memory(golden) == 2 * (1000 + QEMU_BYTES)
    needs = read_needs(place, topology, golden)
    assert (needs.machines, needs.memory, needs.disk) == (2, lab_memory(golden), 2 * DISK_BYTES)
    assert needs.full_memory == sum(node.memory * MIB + QEMU_BYTES for node in topology.nodes.values())
    found = forecast(place, topology, 100_000)
    assert found is not None
    assert 0 <= found.fits < 100_000
    assert found.limiting is not None


def test_disks_grow_as_those_that_are_here(tmp_path: Path) -> None:
    place = make_place(tmp_path, World())
    assert disk_growth(place) == DISK_BYTES
    disk = place.folders("small-alice").disk("desk")
    disk.parent.mkdir(parents=True)
    disk.write_bytes(b"x" * MIB)
    assert disk_growth(place) == DISK_BYTES  # hardly used yet
    with disk.open("wb") as file:
        for _block in range(300):
            file.write(b"x" * MIB)
    assert disk_growth(place) >= 300 * MIB
