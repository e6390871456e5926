import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labctl.errors import LabctlError, Refused
from labctl.images.folder import PARTIAL, fingerprint, hash_file, hold, prepare_folder, remove_partial
from labctl.images.store import BUILD_LOCK, Image, ImageSpec, ImageStore
from labctl.monitor import Event, Silent
from labctl.program import run


def add_image(store: ImageStore, spec: ImageSpec, content: str = "") -> Image:
    """Put a small qcow2 into the store as a build would."""
    prepare_folder(store.folder)
    file = store.folder / f"{PARTIAL}disk"
    run(["qemu-img", "create", "-q", "-f", "qcow2", file, "1M"])
    with file.open("ab") as end:
        end.write(content.encode())
    store.keep(file, hash_file(file), spec)
    image = store.find(spec)
    assert image is not None
    return image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "home")


def test_an_image_is_read_only_and_named_by_its_content(store: ImageStore) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    assert image.path.stat().st_mode & 0o777 == 0o444
    assert image.path.name == f"debian-13-{image.digest[:16]}.qcow2"
    assert image.virtual_size == 1 << 20
    assert store.list_images() == (image,)
    store.verify(image)
    store.check(image)


def test_what_is_built_is_found_by_what_is_asked(store: ImageStore) -> None:
    plain = add_image(store, ImageSpec("debian-13"))
    web = add_image(store, ImageSpec("debian-13", ("nginx",)), "web")
    assert store.find(ImageSpec("debian-13", ("nginx",))) == web
    assert store.find(ImageSpec("debian-12")) is None
    assert [image.label for image in store.list_images()] == ["debian-13", f"debian-13-{web.key[:8]}"]
    assert store.select(web.label) == (web,)
    assert store.select("debian-13") == (plain, web)
    with pytest.raises(LabctlError, match='"windows"'):
        store.select("windows")


# F-23
def test_a_changed_image_is_refused_before_use(store: ImageStore, tmp_path: Path) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    image.path.chmod(0o644)
    with image.path.open("r+b") as file:
        file.seek(100)
        file.write(b"changed")
    with pytest.raises(Refused, match="debian-13") as caught:
        store.create_overlay(image, tmp_path / "web.qcow2", 1)
    assert caught.value.hint == "labctl image rm debian-13"
    assert not (tmp_path / "web.qcow2").exists()


# F-23
def test_a_missing_image_is_refused_before_use(store: ImageStore) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    image.path.unlink()
    with pytest.raises(Refused, match="debian-13"):
        store.check(image)
    assert store.list_images() == ()


def test_a_touched_image_is_read_once_and_then_known_again(store: ImageStore) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    os.utime(image.path, (1, 1))
    store.check(image)
    known = store.find(ImageSpec("debian-13"))
    assert known is not None
    assert known.seen == fingerprint(image.path) != image.seen


def test_removal_is_refused_while_a_disk_needs_the_image(store: ImageStore) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    disk = store.home / "labs" / "web.qcow2"
    disk.parent.mkdir()
    store.create_overlay(image, disk, 2)
    with pytest.raises(Refused, match=str(disk)):
        store.remove(image, ())
    outside = store.home.parent / "elsewhere.qcow2"
    disk.rename(outside)
    with pytest.raises(Refused, match=str(outside)):
        store.remove(image, [outside])
    assert image.path.exists()
    outside.unlink()
    store.remove(image, [])
    assert store.list_images() == ()
    assert not image.path.exists()


def test_a_disk_smaller_than_the_image_is_refused(store: ImageStore, tmp_path: Path) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    with pytest.raises(Refused):
        store.create_overlay(image, tmp_path / "web.qcow2", 0)


def test_a_record_that_is_damaged_is_no_image(store: ImageStore) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    (store.folder / f"debian-13-{image.key}.json").write_text('{"file": 3')
    assert store.list_images() == ()


def test_a_name_that_another_build_took_meanwhile_is_refused(store: ImageStore) -> None:
    prepare_folder(store.folder)
    waiting = threading.Event()

    class Watch:
        def tell(self, event: Event) -> None:
            assert event.step == "wait"
            waiting.set()

    def take() -> None:
        with store.workshop("fw-school", Watch()):
            raise AssertionError("two images of one name")

    with ThreadPoolExecutor(1) as second:
        with hold(store.folder / BUILD_LOCK):
            taking = second.submit(take)
            assert waiting.wait(60)
            add_image(store, ImageSpec("fw-school"))
        with pytest.raises(Refused, match='there is an image "fw-school" already'):
            taking.result(60)


def test_a_disk_whose_build_was_killed_before_its_record_goes_with_the_next(store: ImageStore) -> None:
    lost, used, whole = (add_image(store, ImageSpec("fw"), content) for content in ("lost", "used", "whole"))
    other = add_image(store, ImageSpec("fw-0123456789abcdef"))
    store.create_overlay(used, store.home / "web.qcow2", 2)
    other_lost = lost.path.with_name(f"fw-school-{lost.digest[:16]}.qcow2")
    shutil.copyfile(lost.path, other_lost)
    with store.building("fw", Silent()):
        left = set(store.folder.glob("*.qcow2"))
    assert left == {used.path, whole.path, other.path, other_lost}


# F-21
def test_what_a_killed_build_left_goes_with_the_next(store: ImageStore) -> None:
    image = add_image(store, ImageSpec("debian-13"))
    (store.folder / f"{PARTIAL}killed" / "root").mkdir(parents=True)
    (store.folder / f"{PARTIAL}record.json.tmp").touch()
    mounted = store.folder / f"{PARTIAL}killed" / "root" / "proc"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "proc", "-o", "ro", "proc", mounted], check=True)
    remove_partial(store.folder)
    assert not list(store.folder.glob(f"{PARTIAL}*"))
    store.verify(image)
