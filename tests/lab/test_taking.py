"""Which medium of a firewall is taken as it is, which is installed, and which is refused."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from labctl.appliances.prepare import Preparation, Workbench
from labctl.appliances.script import find_script
from labctl.errors import InvalidFile, Refused
from labctl.images.disc import write_disc
from labctl.images.store import ImageSpec
from labctl.lab import taking
from labctl.lab.taking import FACTORY, ISO_MAGIC, ISO_MAGIC_AT, Bench, build_firewall
from labctl.monitor import Silent
from labctl.plan.observed import Observed
from labctl.topology.hardware import System
from tests.appliances.stand_in import write_disc_stand_in


class NoMachines:
    """A hypervisor on which nothing is, and nothing comes."""

    def observe(self, _start: str = "") -> Observed:
        return Observed()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("LABCTL_LANG", "en")
    return Bench(tmp_path / "home", "", cast("Workbench", None))  # no machine is made


def test_an_installed_disk_is_taken_as_it_is(bench: Bench, tmp_path: Path) -> None:
    disk = tmp_path / "pfsense.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"], check=True)
    image = build_firewall(bench, "pfsense-2", disk, Silent())
    assert image.given is not None
    assert image.given.system is System.PFSENSE
    assert bench.store.find(ImageSpec("pfsense-2")) == image


def test_the_installation_disc_of_a_pfsense_is_refused(bench: Bench, tmp_path: Path) -> None:
    disc = tmp_path / "installer.iso"
    disc.write_bytes(b"\0" * ISO_MAGIC_AT + ISO_MAGIC + b"\0" * 4096)
    with pytest.raises(Refused, match="needed is the disk of a machine on which it was installed") as caught:
        build_firewall(bench, "pfsense-2", disc, Silent())
    assert caught.value.hint == "labctl image build pfsense-2 --media FILE"
    assert not bench.store.folder.exists() or bench.store.list_images() == ()


def test_a_disc_of_an_opnsense_goes_to_its_installer(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disc = write_disc_stand_in(tmp_path, [], [])
    seen: list[Preparation] = []

    def note(_store: object, _machines: object, asked: Preparation, _monitor: object) -> None:
        seen.append(asked)

    monkeypatch.setattr(taking, "prepare_image", note)
    build_firewall(bench, "opnsense-25", disc, Silent())
    assert seen[0].wish.file == disc
    assert seen[0].recipe == find_script("opnsense", FACTORY)
    assert seen[0].installer == find_script("opnsense-disc", FACTORY)


def test_a_disc_of_something_else_is_refused_and_nothing_is_left(bench: Bench, tmp_path: Path) -> None:
    write_disc(tmp_path / "other.iso", {"readme.txt": b"another system"}, "OTHER")
    empty = replace(bench, machines=cast("Workbench", NoMachines()))
    with pytest.raises(InvalidFile, match=r"other\.iso\" is not an installation disc of OPNsense: it has no /boot/"):
        build_firewall(empty, "opnsense-25", tmp_path / "other.iso", Silent())
    assert [path.name for path in bench.store.folder.iterdir() if path.name != ".build"] == []
