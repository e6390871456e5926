"""Lends seats: the folder and the libvirt names of a spare become those of somebody's lab, by renaming one link.

A running machine, its bridges and the files that QEMU holds open cannot be renamed. So a spare lives in a seat,
`labs/.seats/dmz-spare-1`, whose names stay; `labs/dmz-spare-1` is a link to it. Renamed to `labs/dmz-alice`, it is
Alice's lab. What she had before becomes a seat without a link, and goes.
"""

from collections.abc import Iterator
from pathlib import Path

from labctl.errors import Refused
from labctl.lab.frozen import flush
from labctl.lab.keys import write_secret
from labctl.lab.site import Site
from labctl.language import _
from labctl.plan.names import SEATS, SPARE

LAB = "lab"  # a file in a seat: the lab that it is or was of
HELD = 0o711  # QEMU's user walks through, and lists nothing


def seat_folder(site: Site, seat: str) -> Path:
    """Return the folder of a seat."""
    return site.home / "labs" / SEATS / seat


def note_lab(folder: Path, lab: str) -> None:
    """Write into a lab's folder whose it is, for the time when no link says so."""
    write_secret(folder / LAB, lab.encode())


def open_seat(site: Site, lab: str) -> None:
    """Give a spare its seat, named after it; one that has it already keeps it. Raises Refused where it is taken."""
    link, folder = site.home / "labs" / lab, seat_folder(site, lab)
    if site.linked_seat(lab):
        return
    if owner := site.read_seats().by_seat.get(lab):
        text = _('the spare "{lab}" has become the lab "{owner}"')
        raise Refused(text.format(lab=lab, owner=owner), hint="labctl status")
    folder.parent.mkdir(mode=HELD, exist_ok=True)
    if link.is_dir() and not folder.exists():  # made again by `repair`, which knows no seat of a lost spare
        link.rename(folder)
    folder.mkdir(mode=HELD, exist_ok=True)
    note_lab(folder, lab)
    link.symlink_to(Path(SEATS) / lab)


def link_seat(site: Site, lab: str, seat: str) -> None:
    """Give a lab a seat that nobody sits in; one that never was lent goes back to be the lab's own folder."""
    folder = seat_folder(site, seat)
    if seat == lab and not is_seat_of_spare(seat):
        folder.rename(site.home / "labs" / lab)
        return
    folder.mkdir(mode=HELD, parents=True, exist_ok=True)
    note_lab(folder, lab)
    (site.home / "labs" / lab).symlink_to(Path(SEATS) / seat)


def is_seat_of_spare(seat: str) -> bool:
    """Return whether a seat was made for a spare, and not for what a lab was before."""
    return f"-{SPARE}" in seat


def move_in(site: Site, lab: str, spare: str) -> None:
    """Make a spare the lab of this name. Both locks are held.

    A lab that never was a spare has to leave its folder first: a crash between these two renames leaves it a seat
    without a link, which `come_back` undoes.
    """
    labs = site.home / "labs"
    own = labs / lab
    note_lab(seat_folder(site, site.seat_of(spare)), lab)
    if own.is_dir():
        note_lab(own, lab)
        if not own.is_symlink():
            own.rename(seat_folder(site, lab))
    (labs / spare).rename(own)
    flush(labs)


def come_back(site: Site, lab: str) -> None:
    """Put the folder of a lab back in its place, where a crash stopped `move_in` between its renames."""
    own, left = site.home / "labs" / lab, seat_folder(site, lab)
    if not own.is_symlink() and not own.exists() and read_lab(left) == lab and not site.read_seats().by_seat.get(lab):
        left.rename(own)


def read_lab(folder: Path) -> str:
    """Return the lab that a seat is or was of, "" where that is not known."""
    try:
        return (folder / LAB).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def left_seats(site: Site) -> Iterator[tuple[str, str]]:
    """Yield each seat that no lab sits in, with the lab that has left it, sorted."""
    folders = sorted((site.home / "labs" / SEATS).glob("*"))
    taken = site.read_seats().by_seat if folders else {}  # whoever keeps no spares does not look at every lab
    for folder in folders:
        if folder.is_dir() and folder.name not in taken:
            yield folder.name, read_lab(folder)


def seats_left_by(site: Site, lab: str) -> list[str]:
    """Return the seats that a lab has left for another one."""
    return [seat for seat, owner in left_seats(site) if owner == lab]
