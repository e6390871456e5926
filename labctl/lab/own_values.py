"""The values that owners have drawn: kept with their labs as places in an order, read again as their own topologies."""

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import LabctlError, Refused
from labctl.lab.keys import write_secret
from labctl.lab.lock import hold_lab
from labctl.lab.site import Site
from labctl.language import _
from labctl.topology.catalogue import Catalogue
from labctl.topology.load import Template
from labctl.topology.model import Topology
from labctl.topology.variants import Value
from labctl.variants import Draw, Lot, Positions, fingerprint

FILE = "variant.json"  # in a lab's folder, for root alone; it holds no value
KEY = "variants.key"  # in the home folder
SECRET_BYTES = 32
LOCK = "variants"  # a lock of the host: no lab has this name, for want of a dash
PATIENCE = 60.0  # seconds; a draw takes less than one
EXAMPLE = b"example"  # stands for the secret in a forecast that comes before the first draw


@dataclass(frozen=True)
class Own:
    """What tells an owner's values, together with the secret: `secret` is only its fingerprint."""

    topology: str
    owner: str
    session: str
    edition: str
    secret: str
    positions: Positions

    @property
    def lot(self) -> tuple[str, str, str, str]:
        """Return what it was drawn from, as the database names it."""
        return self.topology, self.edition, self.secret, self.session


@dataclass(frozen=True)
class Owned:
    """One owner's topology: with their values, where they have some, and what tells those."""

    topology: Topology
    own: Own | None = None
    values: Mapping[str, Value] | None = None


def write_own(folder: Path, own: Own) -> None:
    """Keep what tells an owner's values in the folder of the lab."""
    write_secret(folder / FILE, json.dumps({**vars(own), "positions": dict(own.positions)}).encode())


def read_own(folder: Path, owner: str = "") -> Own | None:
    """Return what tells the values of a lab, None where it has none, or where they are somebody else's than `owner`."""
    try:
        found = Own(**json.loads((folder / FILE).read_bytes()))
    except OSError:
        return None
    except (ValueError, TypeError) as exc:
        text = _('"{path}" cannot be read: {error}')
        raise LabctlError(text.format(path=folder / FILE, error=exc), hint="labctl repair") from exc
    return found if owner in {"", found.owner} else None


def ensure_secret(home: Path) -> bytes:
    """Return the secret of this installation, made at the first draw, for root alone."""
    path = home / KEY
    if not path.exists():
        fresh = path.with_name(f".{KEY}.{os.getpid()}")
        write_secret(fresh, secrets.token_bytes(SECRET_BYTES))
        try:
            path.hardlink_to(fresh)  # somebody else may be faster: theirs is the secret then
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()


def has_secret(home: Path) -> bool:
    """Return whether this installation has a secret: without one, the values of a forecast are an example."""
    return (home / KEY).exists()


def read_secret(home: Path, own: Own) -> bytes:
    """Return the secret that values were drawn with. Raises Refused where it is gone or another one."""
    try:
        found = (home / KEY).read_bytes()
    except OSError:
        found = b""
    if fingerprint(found) != own.secret:
        text = _('the secret that drew the values of "{owner}" is gone from "{path}": bring it back from a backup')
        lab = f"{own.topology}-{own.owner}"
        raise Refused(text.format(owner=own.owner, path=home / KEY), hint=f"labctl down {lab}")
    return found


def read_owned(home: Path, template: Template, catalogue: Catalogue, own: Own) -> Owned:
    """Return the topology with the values that an owner has drawn."""
    base = template.read(catalogue, template.defaults())
    values = Lot(base, own.session, read_secret(home, own)).values_at(own.owner, own.positions)
    return Owned(template.read(catalogue, values), own, values)


def draw_owned(
    site: Site, source: tuple[Template, Topology], catalogue: Catalogue, session: str, owners: Sequence[str],
    *, keep: bool = True,
) -> dict[str, Owned]:  # fmt: skip
    """Return the topologies of owners with the values that they have in a session, drawn now where they have none.

    `source` is the file as it was read, and the topology that it is without a session. Without `keep` nothing is
    written: those are the values that would be drawn. Raises Refused where the topology has no variants, or too few
    values for so many owners.
    """
    template, base = source
    if not base.variants:
        text = _('the topology "{topology}" has no variants: a session would change nothing')
        raise Refused(text.format(topology=base.name), hint=f"labctl variant list {base.name}")
    known = keep or has_secret(site.home)
    lot = Lot(base, session, ensure_secret(site.home) if known else EXAMPLE)
    like = Own(base.name, "", session, lot.edition, fingerprint(lot.secret), {})
    with hold_lab(site.home, LOCK, "draw", PATIENCE) if keep else nullcontext():
        kept = {**site.store.draws(like.lot), **dict(drawn_by_labs(site, like))}
        drawn = lot.draw(owners, kept)
        if keep:
            site.store.add_draws(like.lot, {owner: one.positions for owner, one in drawn.items()})
    return {owner: make_owned(template, catalogue, like, one) for owner, one in drawn.items()}


def make_owned(template: Template, catalogue: Catalogue, like: Own, draw: Draw) -> Owned:
    """Return the topology of one draw."""
    own = Own(like.topology, draw.owner, like.session, like.edition, like.secret, draw.positions)
    return Owned(template.read(catalogue, draw.values), own, draw.values)


def drawn_by_labs(site: Site, like: Own) -> Iterator[tuple[str, Positions]]:
    """Yield the positions that the labs of a session have: the database may have been lost."""
    for lab in site.known_labs():
        own = read_own(site.home / "labs" / lab)
        if own and own.lot == like.lot and lab == f"{own.topology}-{own.owner}":
            yield own.owner, own.positions


def assign_values(
    site: Site, source: tuple[Template, Topology], catalogue: Catalogue, session: str, owners: Sequence[str],
    *, keep: bool = True,
) -> dict[str, Owned]:  # fmt: skip
    """Return the topology of each owner that has values of their own: those of `session`, else those of their lab.

    Without `keep` nothing is written, and the same is refused. Raises Refused where a lab exists that has none, or
    those of another session or of a secret that is gone: work was done with them.
    """
    _template, base = source
    sessions: dict[str, list[str]] = {}
    for owner in owners:
        folder = site.home / "labs" / f"{base.name}-{owner}"
        own = read_own(folder, owner)
        if session and (folder / "topology.yml").exists() and (own.session if own else "") != session:
            raise another_session(f"{base.name}-{owner}", own)
        if own:
            read_secret(site.home, own)  # a new secret would give other values to a lab that exists
        chosen = session or (own.session if own else "")
        if chosen:
            sessions.setdefault(chosen, []).append(owner)
    found: dict[str, Owned] = {}
    for name, some in sessions.items():
        found |= draw_owned(site, source, catalogue, name, some, keep=keep)
    return found


def another_session(lab: str, own: Own | None) -> Refused:
    """Return the refusal to change the values of a lab that exists."""
    if own is None:
        text = _('the lab "{lab}" was made without a session; its values cannot change while it exists').format(lab=lab)
    else:
        text = _('the lab "{lab}" belongs to the session "{session}"; its values cannot change while it exists')
        text = text.format(lab=lab, session=own.session)
    return Refused(text, hint=f"labctl down {lab}")
