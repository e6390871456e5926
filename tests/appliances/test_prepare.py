"""The whole way of an appliance's image, on a real machine of a private libvirt that plays the appliance."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.appliances.prepare import Preparation, prepare_image
from labctl.appliances.script import Recipe, load_recipe
from labctl.errors import DeadlineMissed, LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.images.folder import PARTIAL
from labctl.images.importing import ImportWish
from labctl.images.store import ImageSpec, ImageStore
from labctl.monitor import Event, Silent
from labctl.topology.hardware import System
from tests.appliances.stand_in import write_stand_in
from tests.appliances.test_script import RECIPES, VALUES
from tests.hypervisor.daemon import PrivateDaemon, running_daemon

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(600)]

SECRET = "opnsense"
MENU = "\n  0) Logout      7) Ping host\n  8) Shell\n\nEnter an option: "


@pytest.fixture(scope="module")
def daemon() -> Iterator[PrivateDaemon]:
    with running_daemon() as private:
        yield private


class Private(Hypervisor):
    """A hypervisor whose guests run as the user of the private daemon."""

    def qemu_owner(self) -> tuple[int, int]:
        found = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        return found.pw_uid, found.pw_gid


@pytest.fixture
def machines(daemon: PrivateDaemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hypervisor]:
    monkeypatch.setenv("LABCTL_LANG", "en")
    with Private(daemon.uri) as door:
        yield door


@pytest.fixture
def store(daemon: PrivateDaemon, request: pytest.FixtureRequest) -> ImageStore:
    home = daemon.folder / f"home-{abs(hash(request.node.name))}"
    home.mkdir()
    return ImageStore(home)


def opnsense() -> Recipe:
    return load_recipe(next(path for path in RECIPES if path.stem == "opnsense"), VALUES)


def talk(recipe: Recipe, login: str = "login: ") -> list[tuple[str, str]]:
    """Return the words of the real system before each line that the recipe types, and those lines."""
    said = [
        "\nFreeBSD/amd64 (OPNsense.localdomain) (ttyu0)\n\n\x1b[1m" + login,
        "Password:",
        MENU,
        "\nroot@OPNsense:~ # ",
    ]
    said += ["labctl> "] + ["> "] * 12 + ["labctl> ", "labctl> ", "hook-      11\nlabctl> ", "labctl> "]
    lines = [(step.send or "").replace("${password}", SECRET) for step in recipe.script]
    return list(zip(said, lines, strict=True))


def asked(file: Path, recipe: Recipe, pace: float = 1.0) -> Preparation:
    wish = ImportWish(file, "opnsense-25", minimum_memory=16, system=System.OPNSENSE)
    small = recipe.model_copy(update={"memory": 64})
    return Preparation(wish, small, home="test", prefix="lctest-", values=VALUES, secrets=[SECRET], pace=pace)


class Watch:
    def __init__(self) -> None:
        self.details: list[str] = []

    def tell(self, event: Event) -> None:
        self.details.append(event.detail)


def test_the_console_is_driven_and_the_image_is_kept(machines: Hypervisor, store: ImageStore, tmp_path: Path) -> None:
    file = write_stand_in(tmp_path / "nano.img", talk(opnsense()))
    watch = Watch()
    image = prepare_image(store, machines, asked(file, opnsense(), 5), watch)
    assert store.find(ImageSpec("opnsense-25")) == image
    assert image.given is not None
    assert image.given.system is System.OPNSENSE
    assert image.path.stat().st_mode & 0o777 == 0o444
    store.verify(image)
    assert {"boot", "login", "menu", "hook", "stop"} <= set(watch.details)
    assert machines.observe("lctest-").domains == ()
    assert not list(store.folder.glob(f"{PARTIAL}*"))


def test_words_that_do_not_come_are_named_and_nothing_is_left(
    machines: Hypervisor, store: ImageStore, tmp_path: Path
) -> None:
    wrong = opnsense()
    file = write_stand_in(tmp_path / "nano.img", [*talk(wrong)[:2], ("\nroot password is opnsense\nMenue: ", "8")])
    with pytest.raises(DeadlineMissed, match=r'menu: the console did not show "Enter an option: " within') as caught:
        prepare_image(store, machines, asked(file, wrong, 0.2), Silent())
    assert "Menue:" in caught.value.message
    assert SECRET not in caught.value.message
    kept = store.folder / "opnsense-25.console.log"
    assert caught.value.hint == f"less {kept}"
    assert "Menue:" in kept.read_text()
    assert SECRET not in kept.read_text()
    assert store.list_images() == ()
    assert machines.observe("lctest-").domains == ()
    assert not list(store.folder.glob(f"{PARTIAL}*"))


def test_a_machine_that_stops_too_early_is_told(machines: Hypervisor, store: ImageStore, tmp_path: Path) -> None:
    file = write_stand_in(tmp_path / "nano.img", talk(opnsense())[:2])
    with pytest.raises(LabctlError, match='menu: the machine stopped before its console showed "Enter an option: "'):
        prepare_image(store, machines, asked(file, opnsense(), 5), Silent())
    assert store.list_images() == ()
