"""The folder in which one candidate's evidence grows: each step is kept as it is done, and the whole is closed at once.

While it is collected it is named NUMBER.partial and has PARTIAL.json, which lists the steps that are done: a full disk
or a crash loses the step that was under way and nothing else, and the next run goes on from there. When all is there it
gets its manifest, is made read-only and takes its name.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.exam.evidence.manifest import (
    KEY,
    MANIFEST,
    OUTSIDE,
    README,
    SIGNATURE,
    SUMS,
    Listed,
    Manifest,
    find_names,
    hash_file,
    load_listed,
    load_manifest,
    write_sums,
)
from labctl.exam.evidence.readme import README_TEXT
from labctl.exam.signing import fingerprint, is_signed, public_pem, sign
from labctl.lab.files import FULL
from labctl.lab.frozen import flush
from labctl.language import _
from labctl.program import ProgramFailed

PARTIAL = ".partial"  # end of a folder's name; no candidate's folder ends so, because a slug has no dot
PROGRESS, RESERVE = "PARTIAL.json", ".reserve"
CLOSING = "closing"  # the last step
RESERVED = 512 << 10  # bytes that are kept free for writing down how far it came when the disk is full
READ_ONLY, READ_ONLY_FOLDER = 0o400, 0o500


class Partial(LabctlError):
    """The disk became full while evidence was collected; what was there before is kept."""

    exit_code = Refused.exit_code


@dataclass(frozen=True)
class Done:
    """A step that is done: its files, and what it could not get."""

    files: Mapping[str, Listed]
    missing: tuple[str, ...] = ()
    facts: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass
class Draft:
    """The evidence of one candidate while it is collected. `steps` has those that are done, by name."""

    folder: Path
    steps: dict[str, Done] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator["Writing"]:
        """Give what writes the files of one step; they count once the block has ended.

        Raises Partial where the disk is full: all steps before are on it, and it is written down that they are.
        """
        writing = Writing(self.folder)
        try:
            yield writing
            writing.settle()
            self.steps[name] = Done(writing.files, tuple(writing.missing), writing.facts)
            self._write_progress("")
        except OSError as exc:
            writing.discard()
            self.steps.pop(name, None)
            if exc.errno not in FULL:
                text = _('the evidence in "{path}" cannot be written: {reason}')
                raise LabctlError(
                    text.format(path=self.folder, reason=exc.strerror), hint=f"ls -ld {self.folder}"
                ) from exc
            raise self._stop(name) from exc
        except LabctlError as exc:
            writing.discard()
            if tells_full(exc):
                raise self._stop(name) from exc
            raise

    def _stop(self, name: str) -> Partial:
        (self.folder / RESERVE).unlink(missing_ok=True)
        with suppress(OSError):
            self._write_progress(name)
        text = _('the disk became full at the step "{step}": what was collected before is kept in "{path}"')
        return Partial(text.format(step=name, path=self.folder), hint=f"df -h {self.folder.parent}")

    def _write_progress(self, stopped: str) -> None:
        steps: dict[str, JsonValue] = {name: describe_step(done) for name, done in self.steps.items()}
        write_durably(self.folder / PROGRESS, json.dumps({"version": 1, "stopped": stopped, "steps": steps}).encode())

    @property
    def files(self) -> dict[str, Listed]:
        """Return all files of the steps that are done."""
        return {path: one for done in self.steps.values() for path, one in done.files.items()}

    def close(self, manifest: Manifest, session: Path, final: Path) -> Manifest:
        """Sign what was collected by the key of a session's folder, make it read-only and give it its name.

        Return the whole manifest. Raises Partial.
        """
        pem = public_pem(session)
        with self.step(CLOSING) as writing:
            writing.write(KEY, pem)
            writing.write(README, README_TEXT.format(fingerprint=fingerprint(pem)).encode())
            writing.write(SUMS, write_sums({**self.files, **writing.files}).encode())
        missing: list[JsonValue] = [f"{name}: {one}" for name, done in self.steps.items() for one in done.missing]
        gathered = {name: value for done in self.steps.values() for name, value in done.facts.items()}
        whole = replace(manifest, files=self.files, facts={**gathered, **manifest.facts, "missing": missing})
        content = whole.dump()
        try:
            (self.folder / RESERVE).unlink(missing_ok=True)
            write_durably(self.folder / MANIFEST, content)
            write_durably(self.folder / SIGNATURE, sign(session, content))
            (self.folder / PROGRESS).unlink(missing_ok=True)
        except OSError as exc:
            raise self._stop(CLOSING) from exc
        publish(self.folder, final)
        return whole


@dataclass
class Writing:
    """Writes the files of one step. `missing` takes sentences on what could not be had, `facts` is for programs."""

    folder: Path
    files: dict[str, Listed] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    facts: dict[str, JsonValue] = field(default_factory=dict)
    _begun: list[Path] = field(default_factory=list)

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        self.make(name, lambda path: write_durably(path, content))

    def write_json(self, name: str, data: JsonValue) -> None:
        """Write a file of JSON."""
        self.write(name, (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode())

    def make(self, name: str, make: Callable[[Path], None]) -> Path:
        """Let a file be made at the path that is given, and note its hash; return where it is."""
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begun.append(path)
        path.unlink(missing_ok=True)  # of a run that was stopped in this step
        make(path)
        self.files[name] = hash_file(path)
        return path

    def settle(self) -> None:
        """Bring what was made to the disk."""
        for path in self._begun:
            flush(path)
        for folder in {path.parent for path in self._begun}:
            flush(folder)

    def discard(self) -> None:
        """Remove what a failed step began: half a file is no evidence, and its source is still there."""
        for path in self._begun:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def tells_full(error: BaseException | None) -> bool:
    """Return whether an error comes from a full disk, also where a program of the host met it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if isinstance(error, ProgramFailed) and os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__
    return False


def describe_step(done: Done) -> dict[str, JsonValue]:
    """Return a step as PARTIAL.json has it."""
    files: dict[str, JsonValue] = {path: {"bytes": one.bytes, "sha256": one.sha256} for path, one in done.files.items()}
    return {"files": files, "missing": [*done.missing], "facts": dict(done.facts)}


def load_progress(folder: Path) -> dict[str, Done]:
    """Return the steps that a stopped run has done, nothing where it cannot be read: they are done anew then."""
    try:
        steps = json.loads((folder / PROGRESS).read_bytes())["steps"]
        return {
            name: Done(
                {path: load_listed(one) for path, one in step["files"].items()}, tuple(step["missing"]), step["facts"]
            )
            for name, step in steps.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is there whole, or not at all, after a power cut."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    flush(path.parent)


def publish(folder: Path, final: Path) -> None:
    """Make a whole folder read-only and give it its name."""
    make_read_only(folder)
    folder.rename(final)
    flush(final.parent)


def make_read_only(folder: Path) -> None:
    """Take the right to write from a folder and all that is in it."""
    for current, _folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(current, name)
            if not path.is_symlink():
                path.chmod(READ_ONLY)
        Path(current).chmod(READ_ONLY_FOLDER)


def open_draft(folder: Path, candidate: str) -> Draft | None:
    """Return the draft of a candidate's evidence, begun now or by a run that was stopped; None where it is complete.

    `folder` is the one that it will have. Raises Refused where there is something else in its place.
    """
    if folder.exists():
        if read_whole(folder, candidate):
            return None
        raise foreign(folder)
    partial = folder.with_name(f"{folder.name}{PARTIAL}")
    if partial.exists() and not (partial / PROGRESS).exists():
        if read_whole(partial, candidate):  # a crash came between the last file and the name
            publish(partial, folder)
            return None
        if any(name != RESERVE for name in find_names(partial)):
            raise foreign(partial)
    partial.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Draft(partial, load_progress(partial))
    draft.steps = {name: done for name, done in draft.steps.items() if is_there(partial, done)}
    draft.steps.pop(CLOSING, None)
    sweep(draft)
    try:
        reserve(partial / RESERVE)
        draft._write_progress("")  # noqa: SLF001  its own module
    except OSError as exc:
        raise Refused(
            _('there is no room in "{path}"').format(path=folder.parent), hint=f"df -h {folder.parent}"
        ) from exc
    return draft


def is_there(folder: Path, done: Done) -> bool:
    """Return whether the files of a step are still as they were when it was done."""
    try:
        return all(hash_file(folder / path) == one for path, one in done.files.items())
    except OSError:
        return False


def sweep(draft: Draft) -> None:
    """Remove what a killed run left of a step that it had not done."""
    kept = {*draft.files, PROGRESS, RESERVE}
    for name in list(find_names(draft.folder)):
        if name not in kept:
            (draft.folder / name).unlink()


def reserve(path: Path) -> None:
    """Take room that is given back when the disk is full."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, RESERVED)


def read_whole(folder: Path, candidate: str) -> Manifest | None:
    """Return the manifest of a folder that holds the signed evidence of a candidate, None for anything else."""
    try:
        content = (folder / MANIFEST).read_bytes()
        signed = is_signed((folder / KEY).read_bytes(), content, (folder / SIGNATURE).read_bytes())
        found = load_manifest(content)
    except (OSError, ValueError, Refused):
        return None
    return found if signed and found.candidate == candidate else None


def foreign(folder: Path) -> Refused:
    """Return the refusal to write where something else is."""
    text = _('"{path}" is not empty, and what is in it is no evidence of this candidate')
    return Refused(text.format(path=folder), hint=f"ls -la {folder}")


def copy_evidence(folder: Path, final: Path, candidate: str, copy: Callable[[Path, Path], None]) -> bool:
    """Copy complete evidence to another place and compare it there; return False where it is there already.

    Raises Refused where something else is in its place, LabctlError where what was written is not what was read.
    """
    if final.exists():
        if read_whole(final, candidate) and (final / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes():
            return False
        raise foreign(final)
    partial = final.with_name(f"{final.name}{PARTIAL}")
    if partial.exists():  # of a copy that was stopped: the original is whole
        loosen(partial)
        shutil.rmtree(partial)
    partial.mkdir(mode=0o700, parents=True)
    listed = {**load_manifest((folder / MANIFEST).read_bytes()).files}
    for name in (*listed, *OUTSIDE):
        target = partial / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy(folder / name, target)
        flush(target)
        if name in listed and hash_file(target) != listed[name]:
            text = _('the copy of "{name}" in "{path}" is not what was collected')
            raise LabctlError(text.format(name=name, path=partial), hint=f"labctl exam verify {folder}")
    publish(partial, final)
    return True


def loosen(folder: Path) -> None:
    """Give the right to write back, so that a folder can be removed."""
    for current, _folders, _names in os.walk(folder):
        Path(current).chmod(0o700)
