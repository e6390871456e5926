"""Labs whose machines are to be made anew, to one wish for those of the same topology."""

from collections.abc import Sequence

from labctl.classroom.wish import ClassWish
from labctl.lab.workplace import Workplace


def group_by_topology(place: Workplace, labs: Sequence[str]) -> list[list[str]]:
    """Return the labs in groups that were made from the same topology, word for word."""
    groups: dict[bytes, list[str]] = {}
    for lab in labs:
        place.load_lab(lab)
        groups.setdefault(place.folders(lab).topology.read_bytes(), []).append(lab)
    return list(groups.values())


def reset_wish(place: Workplace, labs: Sequence[str], nodes: Sequence[str] = ()) -> ClassWish:
    """Return the wish to make machines of labs of one topology anew, all of them where none is named."""
    topology = place.load_template(labs[0]).resolve(place.catalogue)
    owners = tuple(lab.removeprefix(f"{topology.name}-") for lab in labs)
    own = {lab.removeprefix(f"{topology.name}-"): place.load_owned(lab) for lab in labs}
    own = {owner: one for owner, one in own.items() if one.own}
    return ClassWish(
        topology, place.folders(labs[0]).topology, owners, reset=tuple(nodes) or tuple(topology.nodes), own=own
    )
