"""Papers sealed and opened: nobody reads them in between, and nobody changes anything unseen."""

import hashlib
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from labctl.errors import Refused
from labctl.exam.audit import Act, Step
from labctl.exam.seal import Cost, WrongPassphrase, find_changes, open_seal, seal
from labctl.exam.session import Session
from labctl.exam.standing import Stage
from tests.exam.sessions import HandClock, make_session

WORDS, CHEAP = "cheval correct pile agrafe", Cost(n=1 << 4)
SECRET = "The answer is 7080"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    found = make_session(tmp_path, HandClock())
    (found.papers / "sub").mkdir()
    (found.papers / "exam.yml").write_text(SECRET, encoding="utf-8")
    (found.papers / "sub" / "topology.yml").write_text("nodes: é", encoding="utf-8")
    (found.papers / "names.json").write_text("{}", encoding="utf-8")
    with found.doing(Act.PREPARE):
        pass
    return found


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, Path]:
    path = tmp_path / "lab.yml"
    path.write_text("lab", encoding="utf-8")
    return {"dmz-c001/topology.yml": path}


def test_sealed_papers_are_nowhere_and_come_back_as_they_were(session: Session, watched: dict[str, Path]) -> None:
    checksum = seal(session, WORDS, watched, CHEAP)
    manifest = (session.sealed / "manifest.json").read_bytes()
    assert checksum == hashlib.sha256(manifest).hexdigest()
    assert session.read().last[Act.SEAL].facts["checksum"] == checksum
    everything = b"".join(path.read_bytes() for path in session.folder.rglob("*") if path.is_file())
    assert b"7080" not in everything
    assert WORDS.encode() not in everything
    assert [path.name for path in session.papers.iterdir()] == ["names.json"]
    assert open_seal(session, WORDS, watched) == []
    assert (session.papers / "exam.yml").read_text(encoding="utf-8") == SECRET
    assert (session.papers / "sub" / "topology.yml").read_text(encoding="utf-8") == "nodes: é"
    assert session.read().stage is Stage.OPEN


def test_sealing_and_opening_again_change_nothing(session: Session, watched: dict[str, Path]) -> None:
    checksum = seal(session, WORDS, watched, CHEAP)
    head = session.read().head
    assert seal(session, "something else that is long", watched, CHEAP) == checksum
    open_seal(session, WORDS, watched)
    after = session.read().head
    assert open_seal(session, "wrong wrong wrong", watched) == []
    assert seal(session, WORDS, watched, CHEAP) == checksum
    assert (session.papers / "exam.yml").exists()
    assert head != after == session.read().head


def test_a_wrong_passphrase_is_said_and_written_down(session: Session, watched: dict[str, Path]) -> None:
    seal(session, WORDS, watched, CHEAP)
    with pytest.raises(WrongPassphrase, match="not the passphrase") as caught:
        open_seal(session, "cheval correct pile agrafé", watched)
    assert caught.value.exit_code == 6
    last = session.memory.last
    assert last
    assert (last.act, last.step, last.facts) == (Act.OPEN, Step.FAILED, {"wrong_passphrase": True})
    assert not (session.papers / "exam.yml").exists()
    assert open_seal(session, WORDS, watched) == []


def test_letters_may_be_typed_in_another_way(session: Session) -> None:
    seal(session, unicodedata.normalize("NFC", "élève ouvert à midi"), {}, CHEAP)
    assert open_seal(session, unicodedata.normalize("NFD", "élève ouvert à midi"), {}) == []


@pytest.mark.parametrize("words", ["", "short", "123456789"])
def test_a_short_passphrase_is_refused_before_anything(session: Session, words: str) -> None:
    head = session.read().head
    with pytest.raises(Refused, match="at least 10"):
        seal(session, words, {}, CHEAP)
    assert session.read().head == head


def test_nothing_is_sealed_before_it_is_prepared(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="later"):
        seal(make_session(tmp_path, HandClock()), WORDS, {}, CHEAP)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forge(session: Session) -> None:
    """Sign a changed manifest with a key of one's own."""
    from labctl.exam.signing import public_pem, sign

    other = session.folder.parent / "other"
    other.mkdir()
    manifest = json.loads((session.sealed / "manifest.json").read_bytes())
    manifest["exam"] = "another"
    words = json.dumps(manifest).encode()
    (session.sealed / "manifest.json").write_bytes(words)
    (session.sealed / "manifest.sig").write_bytes(sign(other, words))
    (session.sealed / "public.pem").write_bytes(public_pem(other))


CHANGES: dict[str, tuple[Callable[[Session], object], str]] = {
    "bundle": (lambda session: flip(session.sealed / "bundle.bin"), "encrypted papers"),
    "manifest": (lambda session: (session.sealed / "manifest.json").write_text("{}"), "cannot be read"),
    "signature": (lambda session: flip(session.sealed / "manifest.sig"), "not signed"),
    "key": (lambda session: (session.sealed / "public.pem").write_text("x"), "not signed"),
    "gone": (lambda session: (session.sealed / "manifest.sig").unlink(), "cannot be read"),
    "forged": (forge, "not the one whose checksum"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_blocks_the_opening_and_is_named(session: Session, watched: dict[str, Path], what: str) -> None:
    seal(session, WORDS, watched, CHEAP)
    change, text = CHANGES[what]
    change(session)
    with pytest.raises(Refused, match=text) as caught:
        open_seal(session, WORDS, watched)
    assert caught.value.hint.startswith("labctl exam open e6 --override")
    assert not session.read().stage.reached(Stage.OPEN)
    assert session.memory.last
    assert session.memory.last.step is Step.FAILED


def test_a_change_is_overridden_by_a_reason_that_is_written_down(session: Session, watched: dict[str, Path]) -> None:
    seal(session, WORDS, watched, CHEAP)
    watched["dmz-c001/topology.yml"].write_text("changed", encoding="utf-8")
    with pytest.raises(Refused, match=r"dmz-c001/topology\.yml"):
        open_seal(session, WORDS, watched, override="  ")
    changes = open_seal(session, WORDS, watched, override="the lab was made anew this morning")
    assert len(changes) == 1
    facts = session.read().last[Act.OPEN].facts
    assert facts["override"] == "the lab was made anew this morning"
    assert session.read().stage is Stage.OPEN


def test_what_cannot_be_decrypted_is_not_opened_by_a_reason(session: Session, watched: dict[str, Path]) -> None:
    seal(session, WORDS, watched, CHEAP)
    flip(session.sealed / "bundle.bin")
    with pytest.raises(Refused, match="cannot be decrypted"):
        open_seal(session, WORDS, watched, override="I insist")
    assert not session.read().stage.reached(Stage.OPEN)


def test_a_file_of_a_lab_that_came_or_went_is_a_change(session: Session, watched: dict[str, Path]) -> None:
    seal(session, WORDS, watched, CHEAP)
    assert find_changes(session, watched) == []
    assert "dmz-c001" in find_changes(session, {})[0]
    watched["dmz-c001/topology.yml"].unlink()
    assert "dmz-c001" in find_changes(session, watched)[0]
