"""Small discs that are shaped as Microsoft's and virtio-win's are: UDF, a real WIM of wimlib, driver folders."""

import io
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pycdlib import PyCdlib

from labctl.images.disc import write_disc
from labctl.render.windows.versions import AGENT, DRIVERS

NOTHING: Mapping[str, bytes | None] = {}
README = b'This disc contains a "UDF" file system.\r\n'


@dataclass(frozen=True)
class Made:
    """One image of a made WIM."""

    name: str
    title: str
    edition: str
    kind: str = "Server"
    build: int = 20348
    language: str = "fr-FR"
    architecture: str = "9"


SERVER_2022 = (
    Made("Windows Server 2022 SERVERSTANDARDCORE", "Windows Server 2022 Standard Evaluation", "ServerStandardEval",
         "Server Core"),
    Made("Windows Server 2022 SERVERSTANDARD", "Windows Server 2022 Standard Evaluation (expérience de bureau)",
         "ServerStandardEval"),
    Made("Windows Server 2022 SERVERDATACENTER", "Windows Server 2022 Datacenter Evaluation (expérience de bureau)",
         "ServerDatacenterEval"),
)  # fmt: skip
WINDOWS_11 = (
    Made("Windows 11 Famille", "Windows 11 Famille", "Core", "Client", 26100),
    Made("Windows 11 Éducation", "Windows 11 Éducation", "Education", "Client", 26100),
)


def make_wim(path: Path, images: Sequence[Made]) -> Path:
    """Write a WIM with these images, each of one small file, by wimlib as Microsoft's tools would."""
    tree = path.parent / "tree"
    (tree / "Windows").mkdir(parents=True, exist_ok=True)
    (tree / "Windows" / "explorer.exe").write_bytes(b"MZ" * 4096)
    for number, image in enumerate(images):
        verb = ["append"] if number else ["capture"]
        said = {
            "DISPLAYNAME": image.title, "WINDOWS/EDITIONID": image.edition, "WINDOWS/INSTALLATIONTYPE": image.kind,
            "WINDOWS/VERSION/BUILD": image.build, "WINDOWS/LANGUAGES/DEFAULT": image.language,
            "WINDOWS/ARCH": image.architecture,
        }  # fmt: skip
        properties = [f"--image-property={key}={value}" for key, value in said.items()]
        command: list[str | Path] = ["wimlib-imagex", *verb, tree, path, image.name, *properties]
        subprocess.run(command, check=True, capture_output=True)
    return path


def make_udf(path: Path, files: dict[str, bytes]) -> Path:
    """Write a disc whose files are in UDF alone; its ISO 9660 half has only a note, as on Microsoft's."""
    iso = PyCdlib()
    iso.new(udf="2.60", vol_ident="MADE")
    iso.add_fp(io.BytesIO(README), len(README), "/README.TXT;1")
    folders: set[str] = set()
    for name in files:
        folders |= {str(parent) for parent in Path(name).parents if str(parent) != "."}
    for folder in sorted(folders):
        iso.add_directory(udf_path=f"/{folder}")
    for name, content in files.items():
        iso.add_fp(io.BytesIO(content), len(content), udf_path=f"/{name}")
    iso.write(str(path))
    iso.close()
    return path


def make_windows(path: Path, images: Sequence[Made] = SERVER_2022, more: Mapping[str, bytes | None] = NOTHING) -> Path:
    """Write a disc shaped as Windows' own. `more` replaces files by their paths; None leaves one out."""
    wim = make_wim(path.with_suffix(".wim"), images)
    files: dict[str, bytes | None] = {
        "bootmgr.efi": b"MZ", "efi/boot/bootx64.efi": b"MZ", "setup.exe": b"MZ",
        "sources/boot.wim": b"MSWIM\0\0\0", "sources/install.wim": wim.read_bytes(), **more,
    }  # fmt: skip
    return make_udf(path, {name: content for name, content in files.items() if content is not None})


def make_drivers(path: Path, folder: str = "2k22", *, agent: bool = True) -> Path:
    """Write a disc shaped as virtio-win's, with the drivers of one version of Windows: Joliet, as theirs is."""
    files: dict[str, bytes | Path] = {
        f"{driver}/{folder}/amd64/{driver.lower()}.inf": f"; {driver}\r\n".encode() for driver in DRIVERS
    }
    if agent:
        files[AGENT] = b"MSI"
    write_disc(path, files, "virtio-win")
    return path
