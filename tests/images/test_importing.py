"""Files that a school could give, made by the real qemu-img and tar: taken where they are good, refused before use."""

import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl.errors import ExitCode, InvalidFile, LabctlError, Refused
from labctl.images import importing
from labctl.images.folder import PARTIAL, hash_file
from labctl.images.foreign import inspect_disk
from labctl.images.importing import ImportWish, import_image
from labctl.images.store import Image, ImageSpec, ImageStore
from labctl.monitor import Event, Silent
from labctl.topology.hardware import CardModel, DiskBus, Firmware, Hardware

SIZE = 8 << 20
HARDWARE = Hardware(Firmware.UEFI, disk_bus=DiskBus.SATA, card=CardModel.E1000E)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "home")


def raw_disk(path: Path) -> Path:
    """Write a disk with a boot sector and some content."""
    with path.open("wb") as file:
        file.write(b"\xeb\xfe".ljust(510, b"\0") + b"\x55\xaa")
        file.write(os.urandom(1 << 16))
        file.truncate(SIZE)
    return path


def convert(source: Path, target: Path, *words: str) -> Path:
    subprocess.run(["qemu-img", "convert", "-f", "raw", *words, source, target], check=True)
    return target


def ova(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def make(kind: str, folder: Path) -> Path:
    raw = raw_disk(folder / "disk.raw")
    if kind == "raw":
        return raw
    if kind == "qcow2":
        return convert(raw, folder / "disk.img", "-O", "qcow2")  # the name says nothing
    vmdk = convert(raw, folder / "disk.vmdk", "-O", "vmdk", "-o", f"subformat={kind.partition(' ')[0]}")
    if kind.endswith("ova"):
        return ova(folder / "fw.ova", ("fw.ovf", b"<Envelope/>"), ("fw.mf", b""), ("fw-disk1.vmdk", vmdk.read_bytes()))
    return vmdk


@pytest.mark.parametrize("kind", ["raw", "qcow2", "monolithicSparse", "streamOptimized", "streamOptimized ova"])
def test_each_format_becomes_an_image_with_the_same_content(store: ImageStore, tmp_path: Path, kind: str) -> None:
    file = make(kind, tmp_path)
    before = file.read_bytes()
    image = import_image(store, ImportWish(file, "fw-school", HARDWARE, 700), Silent())
    assert store.find(ImageSpec("fw-school")) == image
    assert image.given is not None
    assert image.given.hardware == HARDWARE
    assert image.given.source == file.name
    assert image.given.source_digest == hash_file(file)
    assert image.given.source_format == ("ova" if "ova" in kind else "vmdk" if "S" in kind or "O" in kind else kind)
    assert file.read_bytes() == before
    done = subprocess.run(
        ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", tmp_path / "disk.raw", image.path], check=False
    )
    assert done.returncode == 0
    info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", image.path]))
    assert "backing-filename" not in info
    assert sorted(path.suffix for path in store.folder.iterdir()) == ["", ".json", ".qcow2"]


def test_an_empty_disk_is_whole(store: ImageStore, tmp_path: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "new.qcow2", "1G"], check=True)
    assert import_image(store, ImportWish(tmp_path / "new.qcow2", "fw-school"), Silent()).virtual_size == 1 << 30


def test_how_far_it_is_is_told(store: ImageStore, tmp_path: Path) -> None:
    events: list[Event] = []

    class Watch:
        def tell(self, event: Event) -> None:
            events.append(event)

    import_image(store, ImportWish(make("qcow2", tmp_path), "fw-school"), Watch())
    assert {"inspect", "hash", "keep"} <= {event.step for event in events}
    fractions = [event.fraction for event in events if event.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def backed(folder: Path) -> Path:
    secret = folder / "secret.txt"
    secret.write_bytes(b"secret".ljust(512, b"\0"))
    path = folder / "evil.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, path, "1M"], check=True)
    return path


def with_data_file(folder: Path) -> Path:
    path = folder / "evil.qcow2"
    option = f"data_file={folder / 'outside.raw'},data_file_raw=on"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, path, "1M"], check=True)
    return path


def huge(folder: Path) -> Path:
    path = folder / "huge.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", path, "900T"], check=True)
    return path


def vmdk_with_parent(folder: Path) -> Path:
    base = convert(raw_disk(folder / "disk.raw"), folder / "base.vmdk", "-O", "vmdk")
    path = folder / "child.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, path], check=True)
    return path


def vmdk_in_parts(folder: Path) -> Path:
    return convert(raw_disk(folder / "disk.raw"), folder / "flat.vmdk", "-O", "vmdk", "-o", "subformat=monolithicFlat")


def vmdk_description(folder: Path) -> Path:
    path = folder / "text.vmdk"
    path.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicSparse"\n'
        'RW 16384 SPARSE "secret"\nddb.adapterType = "ide"\n'.ljust(1024, "\n")
    )
    return path


def raw_that_turned(folder: Path) -> Path:
    path = raw_disk(folder / "disk.raw")
    head = backed(folder).read_bytes()
    with path.open("r+b") as file:
        file.write(head)
    return path


def climbing(folder: Path) -> Path:
    return ova(folder / "fw.ova", ("fw.ovf", b"<Envelope/>"), ("../../etc/cron.d/x.vmdk", b"x" * 512))


def linked(folder: Path) -> Path:
    path = folder / "fw.ova"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("fw.vmdk")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(member)
    return path


def bomb(folder: Path) -> Path:
    """Write a tar whose member says that it is of 900 TiB."""
    member = tarfile.TarInfo("fw.vmdk")
    member.size = 900 << 40
    path = folder / "fw.ova"
    ovf = tarfile.TarInfo("fw.ovf")
    path.write_bytes(ovf.tobuf(tarfile.GNU_FORMAT) + member.tobuf(tarfile.GNU_FORMAT) + b"x" * 512)
    return path


def crowd(folder: Path) -> Path:
    return ova(folder / "fw.ova", *((f"{number}.vmdk", b"") for number in range(100)))


def two_disks(folder: Path) -> Path:
    return ova(folder / "fw.ova", ("fw.ovf", b""), ("a.vmdk", b"x"), ("b.vmdk", b"x"))


def no_description(folder: Path) -> Path:
    return ova(folder / "fw.ova", ("a.vmdk", b"x"))


def cut_off(folder: Path) -> Path:
    whole = make("streamOptimized ova", folder)
    whole.write_bytes(whole.read_bytes()[: 40 * 1024])
    return whole


def cut_qcow2(folder: Path) -> Path:
    whole = make("qcow2", folder)
    whole.write_bytes(whole.read_bytes()[: 70 * 1024])
    return whole


def header_only(folder: Path) -> Path:
    path = folder / "short.qcow2"
    path.write_bytes(struct.pack(">4sI", b"QFI\xfb", 3))
    return path


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


BAD = {
    "backing file": (backed, Refused, "names another file"),
    "data file": (with_data_file, Refused, "names another file"),
    "900 TiB": (huge, Refused, "900 TiB"),
    "parent": (vmdk_with_parent, Refused, "names another file"),
    "flat vmdk": (vmdk_in_parts, LabctlError, "flat.vmdk"),
    "bare description": (vmdk_description, LabctlError, "text.vmdk"),
    "raw with a qcow2 header": (raw_that_turned, Refused, "names another file"),
    "ova that climbs": (climbing, Refused, "../../etc/cron.d/x.vmdk"),
    "ova with a link": (linked, Refused, '"fw.vmdk"'),
    "ova bomb": (bomb, InvalidFile, "fw.ova"),
    "ova crowd": (crowd, InvalidFile, "more than 64"),
    "ova with two disks": (two_disks, InvalidFile, "2 disks"),
    "ova without description": (no_description, InvalidFile, "OVF"),
    "ova cut off": (cut_off, InvalidFile, "fw.ova"),
    "qcow2 cut off": (cut_qcow2, InvalidFile, "disk.img"),
    "header only": (header_only, InvalidFile, "short.qcow2"),
    "empty": (written("empty.img", b""), InvalidFile, "empty"),
    "text": (written("notes.txt", b"not a disk\n" * 500), InvalidFile, "notes.txt"),
    "zip": (written("fw.zip", b"PK\x03\x04".ljust(4096, b"z")), InvalidFile, "fw.zip"),
    "compressed": (written("fw.img.bz2", b"BZh9".ljust(4096, b"z")), InvalidFile, "fw.img.bz2"),
    "no file": (lambda folder: folder / "none.qcow2", InvalidFile, "no such file"),
    "folder": (lambda folder: folder, InvalidFile, "not a file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_a_hint_and_leaves_nothing(store: ImageStore, tmp_path: Path, name: str) -> None:
    make_file, kind, said = BAD[name]
    source = tmp_path / "given"
    source.mkdir()
    file = make_file(source)
    with pytest.raises(kind, match=said.replace(".", r"\.")) as caught:
        import_image(store, ImportWish(file, "fw-school"), Silent())
    assert caught.value.exit_code in {ExitCode.INVALID, ExitCode.REFUSED, ExitCode.HOST_NOT_READY}
    assert caught.value.hint
    assert "secret" not in caught.value.message.replace("secret.txt", "")
    assert {path.name for path in store.folder.iterdir()} <= {".build"}


@pytest.mark.parametrize("name", ["Fw", "fw school", "../fw", "", "x" * 40, "debian-13", "opnsense-25"])
def test_a_name_that_no_topology_could_use_is_refused_first(store: ImageStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        import_image(store, ImportWish(tmp_path / "none", name), Silent())
    assert not store.folder.exists()


def test_the_inspected_size_is_that_of_the_guest(tmp_path: Path) -> None:
    assert inspect_disk(make("qcow2", tmp_path)).size == SIZE


KILLED = """
import sys, time
from pathlib import Path
from labctl.images.importing import ImportWish, import_image
from labctl.images.store import ImageStore
from labctl.monitor import Event

class Stop:
    def tell(self, event: Event) -> None:
        if event.step == "hash":
            print("converting", flush=True)
            time.sleep(60)

import_image(ImageStore(Path(sys.argv[1])), ImportWish(Path(sys.argv[2]), "fw-school"), Stop())
"""


# F-21
def test_what_a_killed_import_left_goes_with_the_next(store: ImageStore, tmp_path: Path) -> None:
    file = make("streamOptimized ova", tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, store.home, file], stdout=subprocess.PIPE, env={**os.environ, "LANG": "C.UTF-8"}
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"converting\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert list(store.folder.glob(f"{PARTIAL}*"))
    image: Image = import_image(store, ImportWish(file, "fw-school"), Silent())
    assert not list(store.folder.glob(f"{PARTIAL}*"))
    store.verify(image)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_compressed_disk_does_not_fill_the_host(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "RESERVE", 8 << 20)
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"\xeb\xfe".ljust(510, b"\1") + b"\x55\xaa" + b"\1" * (32 << 20))
    file = convert(raw, tmp_path / "disk.qcow2", "-c", "-O", "qcow2")
    assert file.stat().st_size < 1 << 20
    store = ImageStore(small)
    with pytest.raises(Refused, match=r"importing needs .* GiB are free") as caught:
        import_image(store, ImportWish(file, "fw-school"), Silent())
    assert caught.value.hint == f"df -h {store.folder}"
    assert not list(store.folder.glob(f"{PARTIAL}*"))
    assert shutil.disk_usage(small).free > 15 << 20


def test_qemu_img_dies_with_labctl() -> None:
    """A program that reads the file of somebody else must not go on after a crash (T10)."""
    from labctl.images.importing import LIMITS

    script = f"import subprocess; subprocess.run({[*LIMITS, 'sleep', '300']!r})"
    parent = subprocess.Popen([sys.executable, "-c", script])
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    end = time.monotonic() + 30
    while not (found := children.read_text().split()) and time.monotonic() < end:
        time.sleep(0.02)
    child = int(found[0])
    while b"sleep" not in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0]:
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}/stat").exists()
