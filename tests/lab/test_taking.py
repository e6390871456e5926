"""The image of a pfSense is the disk of a machine on which the school installed it: taken as it is, no console."""

import subprocess
from pathlib import Path
from typing import cast

import pytest

from labctl.appliances.prepare import Workbench
from labctl.errors import Refused
from labctl.images.store import ImageSpec
from labctl.lab.taking import ISO_MAGIC, ISO_MAGIC_AT, Bench, build_firewall
from labctl.monitor import Silent
from labctl.topology.hardware import System


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pfsense-2", "needed is the disk of a machine on which pfSense was installed from it"),
        ("opnsense-25", "needed is the nano image"),
    ],
)
def test_an_installation_disc_is_refused(bench: Bench, tmp_path: Path, name: str, said: str) -> None:
    disc = tmp_path / "installer.iso"
    disc.write_bytes(b"\0" * ISO_MAGIC_AT + ISO_MAGIC + b"\0" * 4096)
    with pytest.raises(Refused, match=said) as caught:
        build_firewall(bench, name, disc, Silent())
    assert caught.value.hint == f"labctl image build {name} --media FILE"
    assert not bench.store.folder.exists() or bench.store.list_images() == ()
