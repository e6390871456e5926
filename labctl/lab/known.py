"""Which labs exist, by libvirt's word and by the home folder's: either alone is enough for a lab to be known."""

from collections.abc import Mapping

from labctl.errors import LabctlError
from labctl.lab.workplace import Workplace


def find_labs(place: Workplace) -> Mapping[str, tuple[str, str]]:
    """Return the topology and the owner of each lab of this installation, by the lab's name, sorted."""
    seats = place.read_seats()
    found = {
        lab: (seen.tag.topology, lab.removeprefix(f"{seen.tag.topology}-"))
        for seen in place.see().domains
        if seen.tag and seen.name.startswith(f"{place.prefix}{seen.tag.seat_name}.") and (lab := seats.lab_of(seen.tag))
    }
    for lab in place.known_labs():
        if lab not in found:
            found[lab] = names_in_folder(place, lab)
    return dict(sorted(found.items()))


def names_in_folder(place: Workplace, lab: str) -> tuple[str, str]:
    """Return the topology and owner of a lab without machines; a copy that cannot be read leaves the lab's name."""
    try:
        topology = place.load_lab(lab).name
    except LabctlError:
        topology = lab.rpartition("-")[0]
    return topology, lab.removeprefix(f"{topology}-")
