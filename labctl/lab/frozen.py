"""The frozen machines of a lab on disk: read-only disks and a saved memory per node, and a manifest written last."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError
from labctl.lab.keys import write_secret
from labctl.language import _
from labctl.plan.model import PlannedNode
from labctl.plan.names import disk_file, node_of_disk

SHARED = frozenset({".qcow2", ".yml"})  # clones run on these disks as QEMU's user; everything else is root's alone


@dataclass(frozen=True)
class Frozen:
    """A golden lab. `id` is the hash of all that it was made from; `parts` are those hashes by name."""

    id: str
    topology: str
    folder: Path
    built: str = ""
    parts: Mapping[str, str] | None = None

    def disk(self, node: str) -> Path:
        """Return the frozen disk that a node's system is on; clones are overlays on it."""
        return self.folder / "disks" / disk_file(node)

    def disks(self, node: PlannedNode) -> tuple[Path, ...]:
        """Return all frozen disks of a node, that of its system first."""
        return tuple(self.folder / "disks" / name for name in node.disk_files)

    @property
    def all_disks(self) -> tuple[Path, ...]:
        """Return the disks that are frozen here, of all nodes, by name."""
        return tuple(sorted((self.folder / "disks").glob("*.qcow2")))

    def state(self, node: str) -> Path:
        """Return the saved memory of a node."""
        return self.folder / "states" / f"{node}.save"

    def nvram(self, node: str) -> Path:
        """Return the firmware's variables of a UEFI node."""
        return self.folder / "nvram" / f"{node}.fd"

    def tpm(self, node: str) -> Path:
        """Return the lasting state of a node's TPM."""
        return self.folder / "tpm" / f"{node}.permall"

    def console(self, node: str) -> Path:
        """Return the serial log that the golden node wrote, for those who ask why."""
        return self.folder / "logs" / f"{node}.log"

    @property
    def secrets(self) -> Path:
        """Return the folder of the certificate authority that its services trust."""
        return self.folder / "secrets"

    @property
    def source(self) -> Path:
        """Return the copy of the topology file that the machines were made from; older golden labs have none."""
        return self.folder / "topology.yml"

    @property
    def manifest(self) -> Path:
        """Return the file that makes the folder whole: without it, it is the rest of a crash."""
        return self.folder / "manifest.json"

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the nodes that are frozen here, sorted."""
        return tuple(sorted({node_of_disk(path) for path in self.all_disks}))

    def bytes(self) -> int:
        """Return what it takes on disk, holes not counted."""
        return sum(taken(path) for path in self.folder.rglob("*") if path.is_file())

    def facts(self) -> dict[str, JsonValue]:
        """Return what the manifest says beside the files."""
        parts: dict[str, JsonValue] = dict(self.parts or {})
        return {"id": self.id, "topology": self.topology, "built": self.built, "parts": parts}

    def write(self, files: Mapping[str, Mapping[str, int]]) -> None:
        """Write the manifest. `files` holds size and modification time of each frozen file, by relative path."""
        data = {"version": 1, **self.facts(), "files": files}
        write_secret(self.manifest, json.dumps(data, indent=1).encode())

    def check(self) -> None:
        """Compare the frozen files with the manifest, by size and time. Raises LabctlError naming the first other one.

        Machines are made from these files, and clones read them while they run: one that was changed must
        never be started on.
        """
        for name, facts in json.loads(self.manifest.read_text(encoding="utf-8"))["files"].items():
            path = self.folder / name
            if not path.exists() or describe(path) != facts:
                raise self.changed(path)

    def changed(self, path: Path) -> LabctlError:
        """Return the error for a file that is not what was frozen."""
        text = _('the golden lab {id} cannot be used: "{path}" is missing or was changed')
        return LabctlError(text.format(id=self.id, path=path), hint=f"labctl golden rm {self.id}")


def taken(path: Path) -> int:
    """Return the bytes that a file takes on disk, holes not counted."""
    return path.stat().st_blocks * 512


def describe(path: Path) -> dict[str, int]:
    """Return what tells a file that was changed: its size in bytes and its time of modification in nanoseconds."""
    facts = path.stat()
    return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}


def read_facts(folder: Path) -> Mapping[str, JsonValue] | None:
    """Return the manifest of a folder, None where there is none or it cannot be read."""
    try:
        data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_frozen(folder: Path) -> Frozen | None:
    """Return the golden lab of a folder, None where there is none or its manifest cannot be read."""
    data = read_facts(folder) or {}
    try:
        parts = data["parts"]
        known = {name: str(value) for name, value in parts.items()} if isinstance(parts, dict) else None
        return Frozen(str(data["id"]), str(data["topology"]), folder, str(data["built"]), known)
    except KeyError:
        return None


def freeze_file(source: Path, target: Path) -> dict[str, int]:
    """Move a file into a golden lab, read-only and on the disk for good; return its facts for the manifest."""
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    source.rename(target)
    return seal(target, 0o444 if target.suffix in SHARED else 0o400)


def seal(path: Path, mode: int = 0o400) -> dict[str, int]:
    """Make a file read-only and bring it to the disk for good; return its facts for the manifest."""
    path.chmod(mode)
    flush(path)
    return describe(path)


def flush(path: Path) -> None:
    """Bring a file or a folder to the disk, so that a power cut does not lose it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
