import json
from contextlib import suppress
from pathlib import Path

import pytest

from labctl.errors import HostNotReady, Refused
from labctl.images.folder import PARTIAL
from labctl.images.given import Given, describe_given
from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.images.store import Image, ImageSpec, ImageStore
from labctl.monitor import Silent
from labctl.program import run
from labctl.topology.hardware import CardModel, Firmware, Hardware, System

HARDWARE = Hardware(Firmware.UEFI, secure_boot=True, tpm=True, card=CardModel.E1000E)
GIVEN = Given(System.WINDOWS, "server.iso", "0" * 64, "iso", 2048, HARDWARE, {"evaluation_days": 180, "edition": "Std"})


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "home")


def give(store: ImageStore, name: str = "windows-2022", given: Given = GIVEN) -> Image:
    with store.workshop(name, Silent()) as work:
        run(["qemu-img", "create", "-q", "-f", "qcow2", work / "disk.qcow2", "1M"])
        return store.register(work / "disk.qcow2", name, given)


def test_a_given_image_is_kept_with_where_it_came_from(store: ImageStore) -> None:
    image = give(store)
    assert image.path.stat().st_mode & 0o777 == 0o444
    assert image.path.name == f"windows-2022-{image.digest[:16]}.qcow2"
    assert store.find(ImageSpec("windows-2022")) == image
    assert image.given == GIVEN
    assert store.list_images() == (image,)
    assert store.ensure(ImageSpec("windows-2022"), Silent()) == image
    store.verify(image)
    assert not list(store.folder.glob(f"{PARTIAL}*"))


def test_a_second_image_of_the_name_is_refused_before_any_work(store: ImageStore) -> None:
    give(store)
    with pytest.raises(Refused, match='"windows-2022"') as caught:
        give(store)
    assert caught.value.hint == "labctl image rm windows-2022"


def test_a_workshop_that_fails_leaves_nothing(store: ImageStore) -> None:
    with suppress(KeyError), store.workshop("fw", Silent()) as work:
        (work / "disk.raw").touch()
        raise KeyError
    assert [path.name for path in store.folder.iterdir()] == [".build"]


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if isinstance(recipe, MediaRecipe)])
def test_what_only_the_school_has_is_asked_for_with_the_command(store: ImageStore, name: str) -> None:
    with pytest.raises(HostNotReady, match=f'"{name}"') as caught:
        store.ensure(ImageSpec(name), Silent())
    assert caught.value.hint.startswith(f"labctl image build {name} --")


def test_a_topology_knows_the_machine_of_what_was_given(store: ImageStore) -> None:
    give(store)
    give(store, "fw-school", Given(System.IMPORT, "fw.ova", "1" * 64, "ova", 700, Hardware(card=CardModel.E1000)))
    facts = {image.name: describe_given(image.name, image.given) for image in store.list_images() if image.given}
    assert facts["windows-2022"].hardware == HARDWARE
    assert facts["windows-2022"].services is None
    assert facts["fw-school"].services == frozenset()
    assert facts["fw-school"].minimum_memory == 700
    assert facts["fw-school"].command == "labctl image import FILE --name fw-school"


def test_a_record_keeps_the_disks_of_its_machine_and_one_of_before_has_none(store: ImageStore) -> None:
    hardware = Hardware(disks={"data1": 20, "data2": 40})
    image = give(store, "nas-school", Given(System.IMPORT, "nas.ova", "1" * 64, "ova", 700, hardware))
    assert image.given is not None
    assert image.given.hardware == hardware
    assert {"data1 of 20 GiB", "data2 of 40 GiB"} <= set(image.given.words)
    assert describe_given("nas-school", image.given).hardware.disks == {"data1": 20, "data2": 40}
    record = store.folder / f"nas-school-{image.key}.json"
    data = json.loads(record.read_text())
    del data["given"]["hardware"]["disks"]
    record.write_text(json.dumps(data))
    (before,) = store.list_images()
    assert before.given is not None
    assert before.given.hardware == Hardware()


def test_a_record_with_an_unknown_machine_is_no_image(store: ImageStore) -> None:
    image = give(store)
    record = store.folder / f"windows-2022-{image.key}.json"
    data = json.loads(record.read_text())
    data["given"]["hardware"]["card"] = "token-ring"
    record.write_text(json.dumps(data))
    assert store.list_images() == ()
