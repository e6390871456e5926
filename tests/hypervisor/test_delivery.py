"""Deliveries of a rewritten saved state, read as libvirt reads them and as it fails to."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.hypervisor.delivery import Delivery, deliver, sweep

OLD, NEW, MEMORY = b"old head", b"new head", os.urandom(1 << 20) * 3 + b"end"
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "web.save"
    path.write_bytes(OLD + MEMORY)
    return path


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """No file, thread or descriptor stays."""
    before = threading.active_count(), len(list(DESCRIPTORS.iterdir()))
    yield
    assert [path.name for path in folder.iterdir()] == ["web.save"]
    assert (threading.active_count(), len(list(DESCRIPTORS.iterdir()))) == before


@pytest.mark.parametrize("delivery", [Delivery.FIFO, Delivery.COPY])
@pytest.mark.parametrize("head", [NEW, b"longer than the old head"])
def test_the_new_head_comes_before_the_unchanged_memory(saved: Path, delivery: Delivery, head: bytes) -> None:
    with nothing_left(saved.parent), deliver(saved, head, len(OLD), delivery) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_bytes() == head + MEMORY
    assert saved.read_bytes() == OLD + MEMORY


def test_shared_blocks_or_a_sentence(saved: Path) -> None:
    with nothing_left(saved.parent):
        try:
            with deliver(saved, NEW, len(OLD), Delivery.REFLINK) as path:
                assert path.read_bytes() == NEW + MEMORY
        except LabctlError as exc:
            assert "cannot be prepared" in exc.message  # noqa: PT017  ext4 shares no blocks, xfs and btrfs do
        with pytest.raises(LabctlError), deliver(saved, NEW + b"longer", len(OLD), Delivery.REFLINK):
            pass


def test_a_reader_that_opens_twice_gets_the_whole_twice(saved: Path) -> None:
    # libvirt 11: the head, close, then all of it, with no time between
    for _attempt in range(100):
        with nothing_left(saved.parent), deliver(saved, NEW, len(OLD), Delivery.FIFO, opened_twice=True) as path:
            with path.open("rb", buffering=0) as reader:
                assert reader.read(len(NEW)) == NEW
            assert path.read_bytes() == NEW + MEMORY


def test_the_fifo_that_is_read_to_the_end_keeps_its_name(saved: Path) -> None:
    # AppArmor looks up a descriptor that QEMU inherits by the name of its file
    for twice in (False, True):
        with deliver(saved, NEW, len(OLD), Delivery.FIFO, opened_twice=twice) as path:
            if twice:
                with path.open("rb", buffering=0) as first:
                    assert first.read(1) == NEW[:1]
            with path.open("rb") as reader:
                assert reader.read() == NEW + MEMORY
                assert os.fstat(reader.fileno()).st_ino == path.stat().st_ino


def test_a_reader_that_comes_again_though_nobody_expected_it(saved: Path) -> None:
    with deliver(saved, NEW, len(OLD), Delivery.FIFO) as path:
        for size in (1, 8, 100, 70_000, 1 << 20):
            inode = path.stat().st_ino
            with path.open("rb", buffering=0) as reader:
                assert reader.read(size)[:1] == NEW[:1]
            end = time.monotonic() + 10
            while path.stat().st_ino == inode:  # the next one gets a pipe of its own
                assert time.monotonic() < end
                time.sleep(0.001)
        assert path.read_bytes() == NEW + MEMORY


@pytest.mark.parametrize("delivery", list(Delivery))
def test_a_path_that_nobody_opens_holds_nobody_up(saved: Path, delivery: Delivery) -> None:
    began = time.monotonic()
    with nothing_left(saved.parent), suppress(LabctlError), deliver(saved, NEW, len(OLD), delivery):
        pass
    assert time.monotonic() - began < 5


def test_a_reader_that_stops_reading_holds_nobody_up(saved: Path) -> None:
    began = time.monotonic()
    with nothing_left(saved.parent):
        with deliver(saved, NEW, len(OLD), Delivery.FIFO) as path:
            reader = path.open("rb")
            assert reader.read(3) == NEW[:3]
        reader.close()
    assert time.monotonic() - began < 5


def test_a_saved_state_that_cannot_be_read_on_is_the_cause_told(tmp_path: Path) -> None:
    folder = tmp_path / "web.save"
    folder.mkdir()
    for delivery in Delivery:
        with pytest.raises(LabctlError, match="cannot be prepared"), deliver(folder, NEW, 0, delivery):
            pass
    with pytest.raises(LabctlError, match="cannot be prepared"), deliver(tmp_path / "no", NEW, 0, Delivery.FIFO):
        pass


def test_an_error_while_feeding_explains_the_failure_of_the_reader(saved: Path) -> None:
    broken = ValueError("what the reader says")
    saved.unlink()
    saved.symlink_to("/proc/self/mem")  # opens, and gives no page

    def restore() -> None:
        with deliver(saved, NEW, len(OLD), Delivery.FIFO) as path:
            assert path.read_bytes() == NEW
            raise broken

    with nothing_left(saved.parent):
        with pytest.raises(LabctlError, match="Invalid argument") as caught:
            restore()
        assert caught.value.__cause__ is broken


def test_what_a_killed_run_left_is_swept(saved: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    os.mkfifo(saved.with_name(f".restore-{child}-1"))
    with deliver(saved, NEW, len(OLD), Delivery.FIFO) as path:
        sweep(saved.parent)
        assert path.exists()
        assert [one.name for one in saved.parent.iterdir() if one != path] == ["web.save"]
