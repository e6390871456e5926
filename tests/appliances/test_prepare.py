"""The whole way of an appliance's image, on a real machine of a private libvirt that plays the appliance."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.appliances.prepare import Preparation, prepare_image
from labctl.appliances.script import Recipe, find_script
from labctl.errors import DeadlineMissed, LabctlError
from labctl.hypervisor.door import Hypervisor
from labctl.images.folder import PARTIAL, hash_file
from labctl.images.importing import ImportWish
from labctl.images.store import ImageSpec, ImageStore
from labctl.monitor import Event, Silent
from labctl.topology.hardware import System
from tests.appliances.stand_in import write_disc_stand_in, write_stand_in
from tests.appliances.test_script import VALUES
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
    return find_script("opnsense", VALUES)


def talk(recipe: Recipe, login: str = "login: ") -> list[tuple[str, str]]:
    """Return the words of the real system before each line that the recipe types, and those lines."""
    said = [*entrance(login), "labctl> ", *["> "] * 12, "labctl> ", "labctl> ", "hook-      11\nlabctl> ", "labctl> "]
    return list(zip(said, typed(recipe), strict=True))


def entrance(login: str = "login: ") -> list[str]:
    begin = "\nFreeBSD/amd64 (OPNsense.localdomain) (ttyu0)\n\n\x1b[1m"
    return [begin + login, "Password:", MENU, "\nroot@OPNsense:~ # "]


def typed(recipe: Recipe) -> list[str]:
    return [(step.send or "").replace("${password}", SECRET) for step in recipe.script]


def installation(recipe: Recipe, copied: str = "0", whole: str = "2") -> list[tuple[str, str]]:
    """Return the words of the live system; the installer draws its progress with a terminal's sequences."""
    copy = f"\x1b[H\x1b[2J\x1b[1;24r\x1b[4;10HInstallation Progress\x1b[7m 100% \x1b[m\x1b[24;1H\ncopied-{copied}\n"
    said = [*entrance(), *["labctl> "] * 6, "newfs: 16383.5MB\nlabctl> ", "mounted-       1\nlabctl> ", "labctl> "]
    said += [copy + "labctl> ", "labctl> ", f"whole-       {whole}\nlabctl> ", "closed-0\nlabctl> "]
    return list(zip(said, typed(recipe), strict=True))


def asked(file: Path, recipe: Recipe, pace: float = 1.0, installer: Recipe | None = None) -> Preparation:
    wish = ImportWish(file, "opnsense-25", minimum_memory=16, system=System.OPNSENSE)
    small, other = (found and found.model_copy(update={"memory": 64}) for found in (recipe, installer))
    assert small
    return Preparation(
        wish, small, home="test", prefix="lctest-", installer=other, values=VALUES, secrets=[SECRET], pace=pace
    )


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


def test_a_disc_is_installed_and_its_disk_is_prepared_as_any(
    machines: Hypervisor, store: ImageStore, tmp_path: Path
) -> None:
    """The guest is silent where the copy's loader keeps it from the serial line, and writes the disk it is given."""
    installer = find_script("opnsense-disc", VALUES)
    file = write_disc_stand_in(tmp_path, installation(installer), talk(opnsense()))
    before = hash_file(file)
    watch = Watch()
    image = prepare_image(store, machines, asked(file, opnsense(), 2, installer), watch)
    assert store.find(ImageSpec("opnsense-25")) == image
    assert image.given is not None
    assert (image.given.source, image.given.source_format, image.given.source_digest) == ("dvd.iso", "iso", before)
    assert image.virtual_size == 16 << 30
    assert hash_file(file) == before
    assert watch.details.index("copy") < watch.details.index("hook")
    assert machines.observe("lctest-").domains == ()
    assert not list(store.folder.glob(f"{PARTIAL}*"))


def test_an_installation_that_fails_is_told(machines: Hypervisor, store: ImageStore, tmp_path: Path) -> None:
    told = find_script("opnsense-disc", VALUES)
    impatient = (step.model_copy(update={"within": 5 if "whole" in step.wait else step.within}) for step in told.script)
    installer = told.model_copy(update={"script": tuple(impatient)})
    file = write_disc_stand_in(tmp_path, installation(installer, copied="1", whole="0"), [])
    with pytest.raises(DeadlineMissed, match=r'copy: the console did not show "\^whole- \*2\$"') as caught:
        prepare_image(store, machines, asked(file, opnsense(), 1, installer), Silent())
    assert "copied-1" in caught.value.message
    assert store.list_images() == ()
    assert machines.observe("lctest-").domains == ()


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
