"""The papers of a session to an encrypted bundle with a signed manifest, and back; any change in between is found.

    sealed/bundle.bin      the papers, compressed, then encrypted: a key by scrypt from a passphrase, AES-256-GCM
    sealed/manifest.json   SHA-256 of the bundle, of each paper, of the session's facts and of the labs' own files
    sealed/manifest.sig    its Ed25519 signature by the session's key
    sealed/public.pem      that key, whose fingerprint is in the log

The checksum of a seal is the SHA-256 of the manifest: it stands in the log and on the proctor's sheet.
"""

import base64
import hashlib
import json
import os
import shutil
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import JsonValue

from labctl.errors import LabctlError, Refused
from labctl.exam.audit import Act, Step, canonical
from labctl.exam.papers import OPEN_ALWAYS
from labctl.exam.rules import refuse_stage
from labctl.exam.session import Session
from labctl.exam.signing import fingerprint, is_signed, public_pem, sign
from labctl.exam.standing import Stage, Standing
from labctl.lab.files import explain_files
from labctl.lab.keys import write_secret
from labctl.language import _

SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 17, 8, 1  # 128 MiB and half a second for each guess
SHORTEST = 10  # characters of a passphrase
KEY_BYTES, CHECK_BYTES, NONCE_BYTES, SALT_BYTES = 32, 16, 12, 16
MOST_BYTES = 64 << 20  # of the papers, unpacked


@dataclass(frozen=True)
class Cost:
    """What a guess of the passphrase costs; tests take less."""

    n: int = SCRYPT_N
    r: int = SCRYPT_R
    p: int = SCRYPT_P


@dataclass(frozen=True)
class Parts:
    """The files of a seal."""

    folder: Path

    @property
    def bundle(self) -> Path:
        """Return the encrypted papers."""
        return self.folder / "bundle.bin"

    @property
    def manifest(self) -> Path:
        """Return what is signed."""
        return self.folder / "manifest.json"

    @property
    def signature(self) -> Path:
        """Return the signature."""
        return self.folder / "manifest.sig"

    @property
    def public(self) -> Path:
        """Return the public key."""
        return self.folder / "public.pem"


class WrongPassphrase(Refused):
    """The passphrase is not the one that the papers were sealed with."""

    def __init__(self, name: str) -> None:
        super().__init__(_("this is not the passphrase of the seal"), hint=f"labctl exam open {name}")


def seal(session: Session, passphrase: str, watched: Mapping[str, Path], cost: Cost | None = None) -> str:
    """Encrypt the papers of a prepared session, sign what they are, remove them; return the checksum.

    `watched` are files outside the session that must not change either, by name. Sealing again what is sealed changes
    nothing. Raises Refused for a passphrase that is too short, or where the session is not prepared.
    """
    parts = Parts(session.sealed)
    standing = session.read()
    refuse_stage(standing, Act.SEAL, session.name)
    if standing.stage.reached(Stage.SEALED):
        if not standing.stage.reached(Stage.OPEN):
            remove_papers(session)
        return str(standing.last[Act.SEAL].facts.get("checksum", ""))
    if len(passphrase) < SHORTEST:
        text = _("a passphrase has at least {count} characters: several words are good")
        raise Refused(text.format(count=SHORTEST), hint=f"labctl exam seal {session.name}")
    with explain_files(session.folder), session.doing(Act.SEAL) as told:
        told.update(write_seal(session, standing, passphrase, watched, cost or Cost()))
        papers = unpack(read_bundle(session, json.loads(parts.manifest.read_bytes()), passphrase))
        if papers != read_papers(session):
            raise LabctlError(_("the papers cannot be read back from the bundle"), hint=f"df -h {session.folder}")
    remove_papers(session)
    return str(told["checksum"])


def write_seal(
    session: Session, standing: Standing, passphrase: str, watched: Mapping[str, Path], cost: Cost
) -> dict[str, JsonValue]:
    """Write the four files, the manifest last but for its signature; return what the log says of them."""
    parts = Parts(session.sealed)
    parts.folder.mkdir(mode=0o700, exist_ok=True)
    papers = read_papers(session)
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    key, check = derive(passphrase, salt, cost)
    bundle = AESGCM(key).encrypt(nonce, pack(papers), session.name.encode())
    outside: dict[str, JsonValue] = {name: digest(path) for name, path in watched.items()}
    inside: dict[str, JsonValue] = {name: hashlib.sha256(content).hexdigest() for name, content in papers.items()}
    manifest: dict[str, JsonValue] = {
        "version": 1, "session": session.name, "exam": standing.text("exam"), "papers": inside, "watched": outside,
        "about": hashlib.sha256(canonical(standing.about)).hexdigest(),
        "bundle": {
            "sha256": hashlib.sha256(bundle).hexdigest(), "size": len(bundle), "cipher": "AES-256-GCM",
            "nonce": nonce.hex(), "kdf": "scrypt", "n": cost.n, "r": cost.r, "p": cost.p, "salt": salt.hex(),
            "check": check,
        },
    }  # fmt: skip
    words = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True).encode()
    public = public_pem(session.folder)
    for path, content in (
        (parts.bundle, bundle), (parts.public, public), (parts.manifest, words),
        (parts.signature, sign(session.folder, words)),
    ):  # fmt: skip
        write_secret(path, content)
    names: list[JsonValue] = [*sorted(papers)]
    return {"checksum": hashlib.sha256(words).hexdigest(), "key": fingerprint(public), "papers": names}


def derive(passphrase: str, salt: bytes, cost: Cost) -> tuple[bytes, str]:
    """Return the key of a passphrase, and what tells a wrong one without it."""
    kdf = Scrypt(salt=salt, length=KEY_BYTES + CHECK_BYTES, n=cost.n, r=cost.r, p=cost.p)
    # One keyboard writes é in one letter, another in two: both are the same passphrase.
    words = kdf.derive(unicodedata.normalize("NFKC", passphrase).encode())
    return words[:KEY_BYTES], hashlib.sha256(words[KEY_BYTES:]).hexdigest()


def read_papers(session: Session) -> dict[str, bytes]:
    """Return the papers that are to be sealed, by their paths."""
    files = sorted(path for path in session.papers.rglob("*") if path.is_file())
    named = {str(path.relative_to(session.papers)): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if name not in OPEN_ALWAYS}


def remove_papers(session: Session) -> None:
    """Remove what is in the bundle; names of people are not."""
    with explain_files(session.papers):
        for path in session.papers.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in OPEN_ALWAYS:
                path.unlink()


def pack(papers: Mapping[str, bytes]) -> bytes:
    """Return papers as one piece of bytes."""
    return zlib.compress(json.dumps({name: base64.b64encode(c).decode() for name, c in papers.items()}).encode())


def unpack(content: bytes) -> dict[str, bytes]:
    """Return the papers of such a piece. Raises ValueError for one that grows beyond all measure."""
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(content, MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(len(content))
    return {name: base64.b64decode(words) for name, words in json.loads(plain).items()}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, "" for one that is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def read_bundle(session: Session, manifest: Mapping[str, JsonValue], passphrase: str) -> bytes:
    """Return the decrypted bundle. Raises WrongPassphrase, and Refused for a bundle that was changed."""
    facts = manifest.get("bundle")
    broken = Refused(_("the sealed papers cannot be decrypted: they were changed"), hint=seal_hint(session))
    if not isinstance(facts, dict):
        raise broken
    try:
        cost = Cost(int(str(facts["n"])), int(str(facts["r"])), int(str(facts["p"])))
        if cost.n > SCRYPT_N or cost.r > SCRYPT_R or cost.p > SCRYPT_P:  # else a forged one takes all memory
            raise broken
        key, check = derive(passphrase, bytes.fromhex(str(facts["salt"])), cost)
        nonce = bytes.fromhex(str(facts["nonce"]))
    except (KeyError, ValueError) as exc:
        raise broken from exc
    if check != facts.get("check"):
        raise WrongPassphrase(session.name)
    try:
        return AESGCM(key).decrypt(nonce, Parts(session.sealed).bundle.read_bytes(), session.name.encode())
    except (InvalidTag, OSError, ValueError) as exc:
        raise broken from exc


def seal_hint(session: Session) -> str:
    """Return what to type where a seal is broken."""
    return f'labctl exam open {session.name} --override "…"'


def find_changes(session: Session, watched: Mapping[str, Path]) -> list[str]:
    """Return what was changed since the seal, without the passphrase; empty where nothing was."""
    parts, standing = Parts(session.sealed), session.read()
    sealed = standing.last[Act.SEAL].facts
    try:
        words, signature, public = (path.read_bytes() for path in (parts.manifest, parts.signature, parts.public))
        manifest = json.loads(words)
        bundle = manifest["bundle"]["sha256"]
        outside, about = dict(manifest["watched"]), manifest["about"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return [_("the manifest cannot be read: {error}").format(error=type(exc).__name__)]
    changes = []
    if hashlib.sha256(words).hexdigest() != sealed.get("checksum"):
        changes.append(_("the manifest is not the one whose checksum was written down"))
    try:
        genuine = is_signed(public, words, signature) and fingerprint(public) == sealed.get("key")
    except Refused:
        genuine = False
    if not genuine:
        changes.append(_("the manifest is not signed by the key of the session"))
    if digest(parts.bundle) != bundle:
        changes.append(_("the encrypted papers were changed"))
    if hashlib.sha256(canonical(standing.about)).hexdigest() != about:
        changes.append(_("the list of candidates or their times were changed"))
    now = {name: digest(path) for name, path in watched.items()}
    changed = sorted(name for name in {*now, *outside} if now.get(name) != outside.get(name))
    if changed:
        changes.append(_("these files of labs were changed: {names}").format(names=", ".join(changed)))
    return changes


def open_seal(session: Session, passphrase: str, watched: Mapping[str, Path], override: str = "") -> list[str]:
    """Decrypt the papers back into their folder; return what was changed and overridden with a reason.

    Raises WrongPassphrase, and Refused, naming them, where there are changes and no reason is given. Opening what is
    open changes nothing.
    """
    standing = session.read()
    refuse_stage(standing, Act.OPEN, session.name)
    if standing.stage.reached(Stage.OPEN):
        return []
    changes = find_changes(session, watched)
    if changes and not override.strip():
        with session.writing() as log:
            log.add(Act.OPEN, Step.FAILED, "", changes=[*changes])
        text = _("the seal is broken: {changes}").format(changes="; ".join(changes))
        raise Refused(text, hint=seal_hint(session))
    try:
        manifest = json.loads(Parts(session.sealed).manifest.read_bytes())
        papers = unpack(read_bundle(session, manifest, passphrase))
    except WrongPassphrase:
        with session.writing() as log:
            log.add(Act.OPEN, Step.FAILED, "", wrong_passphrase=True)
        raise
    except (OSError, ValueError) as exc:
        text = _("the sealed papers cannot be decrypted: they were changed")
        raise Refused(text, hint=f"ls -l {session.sealed}") from exc
    with explain_files(session.folder), session.doing(Act.OPEN, "", changes=[*changes], override=override) as told:
        for name, content in papers.items():
            target = session.papers / name
            if target.resolve().is_relative_to(session.papers.resolve()):
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_secret(target, content)
        told.update(checksum=str(standing.last[Act.SEAL].facts.get("checksum", "")), override=override)
    return changes
