"""The host to what it can offer machines that start by UEFI: firmware, secure boot with Microsoft's keys, a TPM."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from labctl.errors import HostNotReady
from labctl.language import _

# Where packages describe the firmware that they bring, as QEMU's interop/firmware.json says; libvirt chooses by them.
FOLDER = Path("/usr/share/qemu/firmware")
SECURE = frozenset({"secure-boot", "enrolled-keys"})
OVMF, SWTPM, SWTPM_SETUP = "ovmf", "swtpm", "swtpm-tools"


def find_missing(*, secure_boot: bool = False, tpm: bool = False, folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the Debian packages that a UEFI machine of this kind needs and the host lacks, sorted."""
    missing = set()
    wanted = SECURE if secure_boot else frozenset[str]()
    if not any(wanted <= features for features in read_features(folder)):
        missing.add(OVMF)
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if tpm:
        programs = (("swtpm", SWTPM), ("swtpm_setup", SWTPM_SETUP))
        missing |= {package for program, package in programs if shutil.which(program, path=path) is None}
    return tuple(sorted(missing))


def read_features(folder: Path) -> Iterator[frozenset[str]]:
    """Yield the features of each UEFI firmware for this kind of computer whose files are there."""
    for path in sorted(folder.glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            machines = [target["architecture"] for target in data["targets"]]
            files = [Path(data["mapping"][part]["filename"]) for part in ("executable", "nvram-template")]
            if "uefi" in data["interface-types"] and "x86_64" in machines and all(file.exists() for file in files):
                yield frozenset(data["features"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # a description that cannot be read describes nothing


def check_firmware(*, secure_boot: bool, tpm: bool, folder: Path = FOLDER) -> None:
    """Raise HostNotReady with the command that installs what a UEFI machine of this kind needs and the host lacks."""
    missing = find_missing(secure_boot=secure_boot, tpm=tpm, folder=folder)
    if missing:
        text = _("machines that start by UEFI need packages that this host lacks: {packages}")
        hint = f"sudo apt-get install {' '.join(missing)}"
        raise HostNotReady(text.format(packages=", ".join(missing)), hint=hint)
