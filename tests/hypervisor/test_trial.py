"""The verdict on how this host can restore: tried once, kept for a boot and its versions, and tried again after."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labctl.errors import HostNotReady, LabctlError
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.trial import KEPT, best_delivery, choose_delivery, find_deliveries, read_verdicts, write_verdicts

KEY = {"boot": "b", "libvirt": "9.0.0", "qemu": "7.2.22"}


def test_the_best_that_works_is_chosen() -> None:
    works = dict.fromkeys(Delivery, "")
    assert best_delivery(works) is Delivery.FIFO
    assert best_delivery({**works, Delivery.FIFO: "broken"}) is Delivery.REFLINK
    assert best_delivery({**dict.fromkeys(Delivery, "broken"), Delivery.COPY: ""}) is Delivery.COPY
    assert best_delivery(dict.fromkeys(Delivery, "broken")) is None
    assert best_delivery({}) is None


def test_a_kept_verdict_holds_for_its_key_only(tmp_path: Path) -> None:
    path = tmp_path / KEPT
    verdicts = {Delivery.FIFO: "broken", Delivery.REFLINK: "", Delivery.COPY: ""}
    assert read_verdicts(path, KEY) is None
    write_verdicts(path, KEY, verdicts)
    assert read_verdicts(path, KEY) == verdicts
    for name in KEY:
        assert read_verdicts(path, {**KEY, name: "other"}) is None
    assert [one.name for one in tmp_path.iterdir()] == [KEPT]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": {}}', '{"key": 1, "verdicts": {}}'])
def test_a_damaged_verdict_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / KEPT).write_text(text)
    assert read_verdicts(tmp_path / KEPT, KEY) is None


def test_a_verdict_that_misses_a_delivery_is_none(tmp_path: Path) -> None:
    (tmp_path / KEPT).write_text(json.dumps({"key": KEY, "verdicts": {"fifo": ""}}))
    assert read_verdicts(tmp_path / KEPT, KEY) is None


def test_where_nothing_works_nothing_is_kept(tmp_path: Path) -> None:
    with Hypervisor("test:///default") as door:  # it runs no QEMU
        assert choose_delivery(door, tmp_path) is None
        assert not (tmp_path / KEPT).exists()
        with pytest.raises(LabctlError, match="cannot be used"):
            choose_delivery(door, tmp_path / "none")


def test_no_libvirt_is_told_and_not_kept(tmp_path: Path) -> None:  # F-10
    with Hypervisor(f"qemu+unix:///system?socket={tmp_path}/none") as door, pytest.raises(HostNotReady):
        choose_delivery(door, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="lctest-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.vm
@pytest.mark.timeout(300)
def test_this_host_is_tried_once_by_many(home: Path) -> None:
    with Hypervisor() as door:
        before = door.observe().domains
        with ThreadPoolExecutor(4) as threads:
            chosen = set(threads.map(lambda _number: choose_delivery(door, home), range(4)))
        assert chosen == {Delivery.FIFO}
        kept = home / KEPT
        data = json.loads(kept.read_text())
        assert data["key"]["libvirt"] == door.versions().libvirt
        assert (data["verdicts"]["fifo"], data["verdicts"]["copy"]) == ("", "")
        data["verdicts"]["fifo"] = "broken by hand"
        kept.write_text(json.dumps(data))
        assert choose_delivery(door, home) in {Delivery.REFLINK, Delivery.COPY}  # what is kept is believed
        assert find_deliveries(door, home, again=True)[Delivery.FIFO] == ""  # and corrected when asked
        assert choose_delivery(door, home) is Delivery.FIFO
        data["key"]["boot"] = "an earlier one"
        kept.write_text(json.dumps(data))
        assert choose_delivery(door, home) is Delivery.FIFO  # tried again after a start of the host
        own = [domain.name for domain in door.observe().domains if "self-test" in domain.name]
        assert own == [domain.name for domain in before if "self-test" in domain.name]
    assert {path.name for path in home.iterdir()} == {KEPT, f".{KEPT}.lock"}
