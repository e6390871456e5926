"""Evidence of candidates as collecting leaves it, on small files."""

import os
from pathlib import Path

from labctl.exam.audit import Act
from labctl.exam.evidence.manifest import MANIFEST, Manifest, hash_file
from labctl.exam.evidence.store import Draft, loosen, open_draft
from labctl.exam.session import Session
from tests.exam.sessions import HandClock, make_session

FILES = {
    "disks/web.qcow2": os.urandom(300_000), "configuration/web.diff": b"+ listen 7080\n", "logs/web.console.log": b"",
}  # fmt: skip


def draft_of(session: Session, number: str) -> Draft:
    draft = open_draft(session.evidence(number), number)
    assert draft is not None
    return draft


def write_files(draft: Draft) -> None:
    for name, content in FILES.items():
        with draft.step(name.partition("/")[0]) as writing:
            writing.write(name, content)


def manifest_of(session: Session, number: str) -> Manifest:
    standing = session.read()
    return Manifest(session.name, number, "2027-05-18T08:00:00Z", False, standing.seq, standing.head, {})


def collect(session: Session, number: str) -> Path:
    """Collect some files, as the log then tells."""
    final = session.evidence(number)
    with session.doing(Act.COLLECT, number) as told:
        draft = draft_of(session, number)
        write_files(draft)
        draft.close(manifest_of(session, number), session.folder, final)
        told.update(folder=number, manifest=hash_file(final / MANIFEST).sha256)
    return final


def collected(home: Path, count: int = 2) -> Session:
    """Return a session in which all candidates are collected."""
    home.mkdir(exist_ok=True)
    session = make_session(home, HandClock(), count)
    for number in session.read().candidates:
        session.note(Act.INCIDENT, number, reason="fire alarm")
        collect(session, number)
    return session


def open_up(folder: Path) -> None:
    """Let files be changed, as somebody does who has root."""
    loosen(folder)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
