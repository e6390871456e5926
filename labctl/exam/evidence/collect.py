"""The Material of one candidate to a folder of evidence: each part a step, so that what stops one loses no other."""

import gzip
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.exam.answers import find_borrowed, find_collisions
from labctl.exam.evidence.difference import Difference, find_difference, write_difference
from labctl.exam.evidence.manifest import MANIFEST, Manifest, hash_file
from labctl.exam.evidence.material import CONSOLE_MOST, Machine, Material, Recorder, estimate
from labctl.exam.evidence.picture import make_png
from labctl.exam.evidence.store import Writing, open_draft, write_durably
from labctl.exam.evidence.tree import Tree, load_tree, read_histories, read_tree
from labctl.exam.recette import Moment
from labctl.images.copying import copy_disk
from labctl.lab.keeping import ROOM_KEPT, free_bytes
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress

GOLDEN = "golden.json"  # in the session's folder: the hashes of the golden lab's disks, taken once


@dataclass(frozen=True)
class Collector:
    """Collects the evidence of a session. `session` is its folder; trees of golden disks are read once for all."""

    session: Path
    recorder: Recorder
    monitor: Monitor
    room: Callable[[Path], int] = free_bytes
    copy: Callable[[Path, Path], None] = copy_disk
    trees: dict[tuple[Path, tuple[str, ...]], Tree] = field(default_factory=dict)

    def place(self, material: Material) -> Path:
        """Return where the evidence of a candidate lies once it is complete."""
        return self.session / "evidence" / material.folder

    def refuse_full(self, materials: Sequence[Material], second: Path | None) -> None:
        """Raise Refused, before anything is written, where a disk has no room for all, or something is in the way."""
        needed: dict[int, tuple[Path, int]] = {}
        for material in materials:
            if not self.place(material).exists():
                disks = [disk for machine in material.machines for disk in machine.disks]
                linked = all(same_disk(disk.file, self.session) for disk in disks)
                add_need(needed, self.session, estimate(material, linked=linked).fresh)
            if second and not (second / material.folder).exists():
                add_need(needed, second, estimate(material, linked=False).all)
        for folder, need in needed.values():
            free = self.room(folder)
            if need + ROOM_KEPT > free:
                text = _('the evidence takes about {need} MiB, and {kept} MiB must stay free; "{path}" has {free} MiB')
                numbers = {"need": need >> 20, "kept": ROOM_KEPT >> 20, "free": free >> 20}
                raise Refused(text.format(path=folder, **numbers), hint=f"df -h {folder}")

    def collect(self, material: Material, manifest: Callable[[], Manifest]) -> Manifest | None:
        """Collect what is not collected yet, sign it, and return its manifest; None where it is complete already.

        `manifest` is asked at the end: it tells how far the log has come then. Raises Partial where the disk is full
        in the middle, Refused where something else is in the way.
        """
        final = self.place(material)
        draft = open_draft(final, material.number)
        if draft is None:
            return None
        for name, write in STEPS.items():
            if name in draft.steps:
                continue
            self.monitor.tell(Event(material.number, name, Progress.RUNNING, "", len(draft.steps) / len(STEPS)))
            with draft.step(name) as writing:
                write(self, material, writing)
        whole = draft.close(manifest(), self.session, final)
        self.monitor.tell(Event(material.number, "collect", Progress.DONE, "", 1.0))
        return whole

    def golden_tree(self, machine: Machine) -> Tree:
        """Return the configuration on the golden lab's disk of a machine."""
        base = machine.root.base
        key = (base[0], machine.paths)
        if key not in self.trees:
            self.trees[key] = read_tree(base, machine.paths)
        return self.trees[key]


def add_need(needed: dict[int, tuple[Path, int]], folder: Path, count: int) -> None:
    """Add bytes to what a file system must have; two folders may lie on the same one."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    device = there.stat().st_dev
    path, before = needed.get(device, (there, 0))
    needed[device] = (path, before + count)


def same_disk(path: Path, folder: Path) -> bool:
    """Return whether a file lies on the file system of a folder, so that a second name for it costs nothing."""
    return path.exists() and path.stat().st_dev == folder.stat().st_dev


def write_disks(collector: Collector, material: Material, writing: Writing) -> None:
    """Keep each disk as what was written on top of the golden lab's, and say by hashes what that was."""

    def keep(path: Path, source: Path) -> None:
        link_or_copy(source, path, collector.copy)

    for machine in material.machines:
        for name, source in {**{disk.file.name: disk.file for disk in machine.disks}, **machine.board}.items():
            if source.exists():
                writing.make(f"disks/{name}", partial(keep, source=source))
            else:
                writing.missing.append(_("{node}: there is no frozen disk").format(node=source.stem))
    known = read_hashes(collector.session / GOLDEN)
    disks: dict[str, JsonValue] = {}
    for disk in (disk for machine in material.machines for disk in machine.disks):
        layers: list[JsonValue] = [hash_base(path, known) for path in disk.base]
        disks[disk.file.stem] = layers
    write_durably(collector.session / GOLDEN, json.dumps(known).encode())
    writing.write_json("disks/golden.json", {"version": 1, "golden": material.golden, "disks": disks})


def link_or_copy(source: Path, target: Path, copy: Callable[[Path, Path], None]) -> None:
    """Give a frozen file a second name, which takes no room; where it lies on another disk, copy it."""
    try:
        target.hardlink_to(source)
    except OSError:
        copy(source, target)


def read_hashes(path: Path) -> dict[str, JsonValue]:
    """Return the hashes that were taken before, by file with its size and time."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def hash_base(path: Path, known: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return what a file below a disk is, taken from what is known where it is the same file still."""
    facts = path.stat()
    key = f"{path} {facts.st_size} {facts.st_mtime_ns}"
    if not isinstance(known.get(key), str):
        known[key] = hash_file(path).sha256
    return {"name": path.name, "folder": path.parent.parent.name, "bytes": facts.st_size, "sha256": known[key]}


def write_machines(collector: Collector, material: Material, writing: Writing) -> None:
    """Write down what each machine is, and what its screen shows."""
    for machine in material.machines:
        try:
            xml = collector.recorder.describe_domain(machine.name, machine.seat)
            writing.write(f"machines/{machine.node}.xml", xml.encode("utf-8", "replace"))
        except LabctlError as exc:
            writing.missing.append(f"{machine.node}: {exc.message}")
        if material.screenshots:
            try:
                picture = make_png(collector.recorder.take_picture(machine.name, machine.seat))
                writing.write(f"machines/{machine.node}.png", picture)
            except LabctlError as exc:
                writing.missing.append(f"{machine.node}: {exc.message}")


def write_configuration(collector: Collector, material: Material, writing: Writing) -> None:
    """Compare each machine's configuration with the golden lab's, read from the kept disk; look for others' answers."""
    differences: list[Difference] = []
    for machine in material.machines:
        if not machine.root.file.exists() or not machine.root.base:
            writing.missing.append(_("{node}: there is no frozen disk").format(node=machine.node))
            continue
        if not machine.is_read:
            text = _("{node}: labctl reads configuration and typed commands from disks of Debian machines alone")
            writing.missing.append(text.format(node=machine.node))
            continue
        end = read_tree(machine.root.chain, machine.paths)
        found = find_difference(machine.node, collector.golden_tree(machine), end, load_start(material, machine))
        writing.write(f"configuration/{machine.node}.diff", write_difference(found).encode("utf-8", "replace"))
        writing.write_json(f"configuration/{machine.node}.json", found.to_dict())
        writing.missing += [f"{machine.node}: {one}" for one in found.unread]
        differences.append(found)
    borrowed: list[JsonValue] = [one.to_dict() for one in find_borrowed(material.number, material.drawn, differences)]
    same: list[JsonValue] = [*find_collisions(material.number, material.drawn)]
    told: dict[str, JsonValue] = {"same_values": same, "values_of_others": borrowed, "resets": material.resets}
    writing.write_json("integrity.json", {"version": 1, **told})
    writing.facts |= {"same_values": len(same), "values_of_others": len(borrowed), "resets": material.resets}


def load_start(material: Material, machine: Machine) -> Tree | None:
    """Return the configuration of a machine before the work, None where it was not kept or cannot be read."""
    path = material.start.get(machine.node)
    try:
        return load_tree(json.loads(gzip.decompress(path.read_bytes()))) if path else None
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def write_logs(_collector: Collector, material: Material, writing: Writing) -> None:
    """Keep consoles, histories of commands, what labctl did, the candidate's part of the log, and the flows."""
    for machine in material.machines:
        try:
            writing.write(f"logs/{machine.node}.console.log", read_end(machine.console))
        except FileNotFoundError:
            writing.missing.append(_("{node}: its console wrote no log").format(node=machine.node))
        try:
            for path, content in read_histories(machine.root.chain).items() if machine.is_read else ():
                name = f"logs/{machine.node}.{safe(path.strip('/').rpartition('/')[0].replace('/', '-'))}"
                while f"{name}.history" in writing.files:  # two names may look the same once they are harmless
                    name += "_"
                writing.write(f"{name}.history", content)
        except LabctlError as exc:
            writing.missing.append(f"{machine.node}: {exc.message}")
    writing.write_json("logs/lab.json", [dict(one) for one in material.history])
    writing.write("logs/session.jsonl", material.log)
    for network, counted in material.flows.items():
        try:
            writing.write(f"logs/flows-{network}.json", counted.read_bytes())
        except FileNotFoundError:
            text = _("no flow was seen on the network {network}, or nobody watched it")
            writing.missing.append(text.format(network=network))


def read_end(path: Path) -> bytes:
    """Return a log, the end of one that is very long. Raises FileNotFoundError."""
    with path.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - CONSOLE_MOST))
        return stream.read(CONSOLE_MOST)


def safe(name: str) -> str:
    """Return a part of a file's name that cannot lead anywhere else."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:64] or "_"


def write_results(_collector: Collector, material: Material, writing: Writing) -> None:
    """Keep the results of the recette, with what machines answered, and the values that were drawn."""
    writing.write_json("variant.json", {"version": 1, "candidate": material.number, "values": dict(material.values)})
    for name in map(str, Moment):
        path = material.results.get(name)
        if path and path.exists():
            writing.write(f"recette/{name}.json", path.read_bytes())
        else:
            writing.missing.append(_("the recette was not run: {name}").format(name=name))


# Disks first: they are what cannot be had again once machines go on.
STEPS: Mapping[str, Callable[[Collector, Material, Writing], None]] = {
    "disks": write_disks,
    "machines": write_machines,
    "results": write_results,
    "logs": write_logs,
    "configuration": write_configuration,
}


def summary(folder: Path, whole: Manifest) -> dict[str, JsonValue]:
    """Return what the log has of complete evidence; `manifest` is the SHA-256 that the proctor's sheet has."""
    missing = whole.facts.get("missing")
    return {
        "folder": folder.name, "manifest": hash_file(folder / MANIFEST).sha256, "files": len(whole.files),
        "bytes": sum(one.bytes for one in whole.files.values()),
        "missing": len(missing) if isinstance(missing, list) else 0,
        **{key: whole.facts.get(key, 0) for key in ("same_values", "values_of_others", "resets")},
    }  # fmt: skip


def told_missing(whole: Manifest) -> Iterator[str]:
    """Yield what could not be had, in the words of the step that looked for it."""
    missing = whole.facts.get("missing")
    yield from map(str, missing if isinstance(missing, list) else ())
