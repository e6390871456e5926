"""The whole way from a school's discs to a sealed image, under QEMU with OVMF and swtpm; the discs hold a stand-in.

It reads the answer file, the scripts and the drivers from the drives that Windows Setup searches, and tells by the
serial port what it found. What only Windows itself can show is listed in docs/windows.md.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from labctl.errors import LabctlError
from labctl.images.recipe import RECIPES, MediaRecipe
from labctl.images.store import ImageSpec, ImageStore
from labctl.lab.installation import ORDER
from labctl.lab.windows_image import Factory, Request, build_windows
from labctl.lab.wish import Pace
from labctl.monitor import Event
from labctl.render.windows.machine import InstallMachine, render_install
from tests.hypervisor.daemon import PrivateDaemon
from tests.images.windows_discs import SERVER_2022, WINDOWS_11, Made, make_drivers, make_wim
from tests.lab.windows.firmware import make_bootable
from tests.lab.windows.private import Door, without_what_a_session_lacks

pytestmark = [pytest.mark.vm, pytest.mark.apart, pytest.mark.timeout(1800)]

PACE = Pace("tcg", 12.0)
MEMORY = 384  # MiB
SNAKEOIL = """<os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader readonly='yes' secure='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.secboot.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd'/>
  </os>"""


class Refusal(LabctlError):
    """The firmware has said that it does not start what is not signed."""


@dataclass
class Bench:
    """One build: what its monitor heard, and what its machine said by the serial port until its folder went."""

    door: Door
    home: Path
    serial: str = ""
    heard: list[Event] = field(default_factory=list)
    folder: Path | None = None
    test_keys: bool = False  # the firmware of Debian's test key, which signed the stand-in; else Microsoft's keys

    def tell(self, event: Event) -> None:
        self.heard.append(event)

    def render(self, machine: InstallMachine, accelerator: str) -> str:
        """Render the machine as it is for Windows; the folder is opened to the user of the tests' own daemon."""
        self.folder = machine.folder
        os.chown(machine.folder, *self.door.qemu_owner())
        text = without_what_a_session_lacks(render_install(machine, accelerator))
        return re.sub("<os firmware.*</os>", SNAKEOIL, text, flags=re.DOTALL) if self.test_keys else text

    def check(self) -> None:
        """Keep what the machine said; stop where the firmware has refused."""
        log = self.folder / "serial.log" if self.folder else Path()
        if log.is_file():
            self.serial = log.read_text(encoding="utf-8", errors="replace")
        if re.search("Access Denied|Security Violation", self.serial):
            raise Refusal("refused by the firmware")

    def build(self, request: Request) -> object:
        factory = Factory(
            self.door, ImageStore(self.home), PACE, "lctest-", MEMORY, 1 << 28, check=self.check, render=self.render
        )
        return build_windows(factory, request, self)

    def left(self) -> list[str]:
        """Return what is left of a build: machines, folders that are not whole."""
        names = [domain.name for domain in self.door.observe("lctest-").domains]
        return names + [path.name for path in (self.home / "images").glob("partial-*")]


@pytest.fixture
def bench(daemon: PrivateDaemon, tmp_path: Path) -> Iterator[Bench]:
    home = daemon.folder / f"home-{tmp_path.name}"
    home.mkdir(mode=0o755)
    with Door(daemon.uri, patience=30) as door:
        yield Bench(door, home)


def request(folder: Path, name: str, images: tuple[Made, ...], drivers: str, *, signed: bool = False) -> Request:
    """Return what a school would give, with the stand-in on the installation disc."""
    wim = make_wim(folder / "install.wim", images)
    files = {"efi/boot/bootx64.efi": b"MZ", "sources/boot.wim": b"MSWIM\0\0\0", "sources/install.wim": wim.read_bytes()}
    iso = make_bootable(folder / f"{name}.iso", files, folder, signed=signed)
    recipe = RECIPES[name]
    assert isinstance(recipe, MediaRecipe)
    return Request(recipe, iso, make_drivers(folder / "virtio-win.iso", drivers))


def test_a_server_goes_through_every_phase_and_becomes_a_sealed_image(bench: Bench, tmp_path: Path) -> None:
    wanted = request(tmp_path, "windows-2022", SERVER_2022, "2k22")
    bench.build(wanted)
    image = ImageStore(bench.home).find(ImageSpec("windows-2022"))
    assert image
    assert image.given
    ImageStore(bench.home).verify(image)
    assert image.path.stat().st_mode & 0o777 == 0o444
    facts = image.given.facts
    assert (facts["evaluation_days"], facts["rearms"], facts["title"]) == (180, 5, SERVER_2022[1].title)
    assert len(str(facts["virtio_win_sha256"])) == len(image.given.source_digest) == 64
    said = set(re.findall("seen (.*)", bench.serial))
    assert {"secure boot off", "no tpm", "disk", "answer file", f"image {SERVER_2022[1].name}"} <= said
    assert {rf"driver {name}\2k22\amd64" for name in ("viostor", "NetKVM", "vioserial", "Balloon", "viorng")} <= said
    steps = list(dict.fromkeys(event.step for event in bench.heard))
    assert steps[-7:] == [*(f"windows {phase}" for phase in ORDER), "seal"]
    assert bench.left() == []
    with pytest.raises(LabctlError, match='there is an image "windows-2022" already'):
        bench.build(wanted)


def test_windows_11_starts_with_secure_boot_and_a_tpm(bench: Bench, tmp_path: Path) -> None:
    bench.test_keys = True
    bench.build(request(tmp_path, "windows-11", WINDOWS_11, "w11", signed=True))
    assert {"secure boot on", "tpm"} <= set(re.findall("seen (.*)", bench.serial))
    assert bench.left() == []


def test_microsofts_keys_let_nothing_start_that_microsoft_did_not_sign(bench: Bench, tmp_path: Path) -> None:
    """The machine is exactly the one that a Windows 11 gets; the stand-in, which is not signed, is refused by it."""
    with pytest.raises(Refusal):
        bench.build(request(tmp_path, "windows-11", WINDOWS_11, "w11"))
    assert "seen" not in bench.serial
    assert bench.left() == []


def test_a_failed_installation_leaves_its_last_words_and_nothing_else(bench: Bench, tmp_path: Path) -> None:
    fails = replace(SERVER_2022[1], name="Windows Server 2022 FAILS")
    with pytest.raises(LabctlError, match="specialize: no disc holds viostor") as caught:
        bench.build(request(tmp_path, "windows-2022", (fails,), "2k22"))
    (kept,) = (bench.home / "failed").iterdir()
    assert str(kept) in caught.value.message
    assert caught.value.hint == f"ls {kept}"
    assert "Error 0x80070002" in (kept / "setup.log").read_text()
    assert "seen answer file" in (kept / "serial.log").read_text(errors="replace")
    assert [path.stat().st_size > 1000 for path in kept.glob("screen.*")] == [True]
    assert kept.stat().st_mode & 0o777 == 0o700
    assert bench.left() == []
    assert ImageStore(bench.home).list_images() == ()
