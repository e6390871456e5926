"""A folder of evidence, or of a whole session, to all that is wrong with it: from its files alone, on any machine.

Neither libvirt nor labctl's database is asked. What a folder says of itself can be made anew by whoever changes it,
with a key of their own: the key's fingerprint and the log's head are to be compared with the signed proctor's sheet.
"""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act, Step
from labctl.exam.evidence.findings import Finding, Trouble
from labctl.exam.evidence.log_proof import LogProof, prove_log
from labctl.exam.evidence.manifest import (
    KEY,
    LARGEST,
    MANIFEST,
    OUTSIDE,
    SIGNATURE,
    Listed,
    Manifest,
    NoManifest,
    find_names,
    hash_file,
    load_manifest,
)
from labctl.exam.evidence.seal_proof import prove_seal
from labctl.exam.evidence.store import PARTIAL, PROGRESS, RESERVE, load_progress
from labctl.exam.signing import fingerprint, is_signed
from labctl.language import _

LOG, EVIDENCE, SEALED = "audit.jsonl", "evidence", "sealed"
WORKERS = min(4, os.cpu_count() or 1)  # SHA-256 leaves Python's lock; more threads only make a disk seek


@dataclass(frozen=True)
class Verified:
    """What was looked at and what was found. `head` is that of the log, "" where none is there."""

    folder: Path
    candidates: tuple[str, ...]
    files: int
    bytes: int
    keys: tuple[str, ...]
    head: str
    entries: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Return whether nothing was found."""
        return not self.findings


@dataclass
class Look:
    """One verification under way. `seen` is told of each file that was hashed, with its bytes."""

    top: Path
    seen: Callable[[str, int], None]
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    bytes: int = 0
    keys: list[str] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    def tell(self, trouble: Trouble, path: Path | str, detail: str = "") -> None:
        """Note a trouble."""
        name = path if isinstance(path, str) else path.relative_to(self.top).as_posix()
        self.findings.append(Finding(trouble, name, detail))


def quiet(_path: str, _count: int) -> None:
    """Tell nobody."""


def verify(folder: Path, *, head: str = "", key: str = "", seen: Callable[[str, int], None] = quiet) -> Verified:
    """Return what is wrong with the evidence of a candidate, of a whole session, or of a copy of either.

    `head` and `key` are what the proctor's sheet has: the hash of an entry of the log, or its first digits, and the
    fingerprint of the session's key. Raises LabctlError where the folder holds neither evidence nor a session.
    """
    if not folder.is_dir():
        raise LabctlError(_('"{path}" is no folder').format(path=folder), hint=f"ls -ld {folder}")
    look = Look(folder, seen)
    places = find_evidence(folder)
    log = read_log(look)
    if not places and log is None:
        text = _('"{path}" holds no evidence and no exam session')
        raise LabctlError(text.format(path=folder), hint=f"ls -la {folder}")
    for place in places:
        verify_place(look, place)
    expect_key(look, key)
    if log:
        check_log(look, log, head, whole=(folder / EVIDENCE).is_dir())
    elif head:
        look.tell(Trouble.MISSING, LOG)
    return Verified(
        folder, tuple(sorted(one.candidate for one in look.manifests.values())), look.files, look.bytes,
        tuple(dict.fromkeys(look.keys)), log.head if log else "", len(log.entries) if log else 0, tuple(look.findings),
    )  # fmt: skip


def find_evidence(folder: Path) -> tuple[Path, ...]:
    """Return the folders of evidence: this one, or those of a session; what else lies among them is found wrong."""
    if (folder / EVIDENCE).is_dir():
        return tuple(sorted(path for path in (folder / EVIDENCE).iterdir()))
    own = any((folder / name).exists() for name in (MANIFEST, SIGNATURE, KEY, PROGRESS))
    return (folder,) if own or folder.name.endswith(PARTIAL) else ()


def verify_place(look: Look, place: Path) -> None:
    """Verify the evidence of one candidate."""
    if place.is_symlink() or not place.is_dir():
        look.tell(Trouble.ADDED, place)
    elif (place / PROGRESS).exists() or (place.name.endswith(PARTIAL) and not (place / MANIFEST).exists()):
        verify_partial(look, place)
    else:
        manifest = read_signed(look, place)
        if manifest:
            look.manifests[str(place)] = manifest
            compare(look, place, manifest.files)


def verify_partial(look: Look, place: Path) -> None:
    """Say that evidence is not complete, and verify what is there of it."""
    try:
        stopped = str(json.loads((place / PROGRESS).read_bytes())["stopped"])
    except (OSError, ValueError, KeyError, TypeError):
        stopped = ""
    look.tell(Trouble.PARTIAL, name_of(look, place), stopped or _("a crash"))
    done = load_progress(place)
    files = {path: one for step in done.values() for path, one in step.files.items()}
    compare(look, place, files, frozenset({PROGRESS, RESERVE}), complete=False)


def name_of(look: Look, place: Path) -> str:
    """Return a folder's name for people; the one that is verified has its own."""
    return place.name if place == look.top else place.relative_to(look.top).as_posix()


def read_signed(look: Look, place: Path) -> Manifest | None:
    """Return the manifest of a folder, None where there is none; say where its signature is not right."""
    try:
        content = read_small(place / MANIFEST)
        manifest = load_manifest(content)
    except (OSError, NoManifest):
        look.tell(Trouble.NO_MANIFEST, place / MANIFEST)
        return None
    try:
        pem, signature = read_small(place / KEY), read_small(place / SIGNATURE)
        look.keys.append(fingerprint(pem))
        signed = is_signed(pem, content, signature)
    except (OSError, Refused):
        signed = False
    if not signed:
        look.tell(Trouble.SIGNATURE, place / MANIFEST)
    return manifest


def read_small(path: Path) -> bytes:
    """Return the content of a file that is no link and not too large. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST)


def compare(
    look: Look, place: Path, listed: Mapping[str, Listed], others: frozenset[str] = OUTSIDE, *, complete: bool = True
) -> None:
    """Hash all files of a folder, several at a time, and note what is not as it is listed."""
    names = set(find_names(place))
    for name in sorted(names - listed.keys() - others):
        if complete:
            look.tell(Trouble.ADDED, place / name)
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        asked = {name: workers.submit(check_file, place / name, one) for name, one in sorted(listed.items())}
        for name, answer in asked.items():
            trouble, detail = answer.result()
            look.files += 1
            look.bytes += listed[name].bytes
            look.seen((place / name).relative_to(look.top).as_posix(), listed[name].bytes)
            if trouble:
                look.tell(trouble, place / name, detail)


def check_file(path: Path, listed: Listed) -> tuple[Trouble | None, str]:
    """Return what is wrong with one file."""
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            return Trouble.LINK, ""
        if facts.st_size != listed.bytes:
            text = _("{found} bytes instead of {bytes}").format(found=facts.st_size, bytes=listed.bytes)
            return Trouble.SIZE, text
        found = hash_file(path)
    except FileNotFoundError:
        return Trouble.MISSING, ""
    except OSError as exc:
        return Trouble.UNREADABLE, exc.strerror or str(exc)
    return (None, "") if found == listed else (Trouble.CHANGED, "")


def expect_key(look: Look, key: str) -> None:
    """Note keys that are not the expected one; evidence of one session has one key."""
    wanted = "".join(key.split()).lower()
    for place in look.manifests:
        try:
            found = fingerprint(read_small(Path(place) / KEY))
        except (OSError, Refused):
            continue
        if (wanted and not found.startswith(wanted)) or found != look.keys[0]:
            look.tell(Trouble.OTHER_KEY, Path(place) / KEY, found)


def read_log(look: Look) -> LogProof | None:
    """Return the log of a session, None where there is none."""
    path = look.top / LOG
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if (look.top / EVIDENCE).is_dir():
            look.tell(Trouble.MISSING, LOG)
        return None
    except OSError as exc:
        look.tell(Trouble.UNREADABLE, LOG, exc.strerror or str(exc))
        return None
    look.files, look.bytes = look.files + 1, look.bytes + len(content)
    return prove_log(LOG, content)


def check_log(look: Look, log: LogProof, head: str, *, whole: bool) -> None:
    """Note what is wrong with the log, and what contradicts the evidence beside it."""
    look.findings += log.findings
    for place, manifest in look.manifests.items():
        where = Path(place).relative_to(look.top).as_posix()
        look.findings += log.check_anchor(f"{where}/{MANIFEST}", manifest.entries, manifest.head)
    if head:
        look.findings += log.check_head(head)
    if not whole:
        return
    look.findings += prove_seal(look.top, log.entries)
    gone = {entry.candidate for entry in log.entries if entry.act is Act.PURGE and entry.step is Step.DONE}
    for entry in log.entries:
        if entry.act is Act.COLLECT and entry.step is Step.DONE and entry.candidate not in gone:
            folder = look.top / EVIDENCE / Path(str(entry.facts.get("folder", entry.candidate))).name
            look.findings += check_collected(look, folder, str(entry.facts.get("manifest", "")))


def check_collected(look: Look, place: Path, manifest: str) -> Iterator[Finding]:
    """Yield that evidence is gone, or that its manifest is not the one whose hash the log has."""
    name = place.relative_to(look.top).as_posix()
    if not place.is_dir():
        yield Finding(Trouble.EVIDENCE_MISSING, name)
    elif str(place) in look.manifests and manifest and hash_file(place / MANIFEST).sha256 != manifest:
        yield Finding(Trouble.CHANGED, f"{name}/{MANIFEST}")
