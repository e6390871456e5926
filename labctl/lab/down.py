"""Removes one lab: exactly the machines and networks that carry its tag, then its folder."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import Refused
from labctl.lab.files import explain_files
from labctl.lab.lock import hold_lab, who
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import ActionKind
from labctl.plan.observed import Observed, Tag

WORKERS = 4


@dataclass(frozen=True)
class Removal:
    """What belongs to a lab: libvirt names of machines and networks, and whether it has a folder."""

    lab: str
    domains: tuple[str, ...]
    networks: tuple[str, ...]
    folder: bool

    @property
    def empty(self) -> bool:
        """Return whether nothing of the lab exists."""
        return not (self.domains or self.networks or self.folder)


def plan_removal(lab: str, observed: Observed, prefix: str, folder: bool) -> Removal:
    """Return what carries the lab's tag. Works without the topology: it may be lost."""
    domains = [seen.name for seen in observed.domains if owns(seen.name, seen.tag, lab, prefix)]
    networks = [seen.name for seen in observed.networks if owns(seen.name, seen.tag, lab, prefix)]
    return Removal(lab, tuple(domains), tuple(networks), folder)


def refuse_foreign_users(observed: Observed, top: Path) -> None:
    """Raise Refused where a machine that is not ours has its disk in the lab's folder: it would lose it."""
    for seen in observed.domains:
        if seen.tag is None and any(top in Path(disk).parents for disk in seen.disks):
            text = _('the machine "{name}" was not made by this installation and has its disk in "{path}"')
            raise Refused(text.format(name=seen.name, path=top), hint=f"virsh dominfo {seen.name}")


def owns(name: str, tag: Tag | None, lab: str, prefix: str) -> bool:
    """Return whether an object is the lab's: the tag says so and the name starts as this installation's do."""
    return tag is not None and tag.lab == lab and name.startswith(f"{prefix}{lab}.")


def take_down(place: Workplace, lab: str, monitor: Monitor) -> Removal:
    """Remove a lab; what is already gone is what was wanted. Return what was removed."""
    folders = place.folders(lab)
    with explain_files(folders.top), hold_lab(place.home, lab, "down"):
        top = folders.top
        observed = place.see()
        refuse_foreign_users(observed, top)
        removal = plan_removal(lab, observed, place.prefix, top.exists())
        if removal.empty:
            return removal
        place.store.add_event(lab, who(), "down")
        remove_machines(place, removal, monitor)
        for name in removal.networks:
            with place.store.intent(lab, ActionKind.REMOVE_NETWORK, name):
                place.machines.remove_network(name, lab)
            monitor.tell(Event(name, "remove", Progress.DONE, _("network")))
        # The topology's copy goes last: after a crash the lab is still known by its name.
        if top.exists():
            for child in top.iterdir():
                if child != folders.topology:
                    remove_tree(child)
            shutil.rmtree(top)
        place.store.forget(lab)
        place.store.add_event(lab, who(), "down ended")
        return removal


def remove_machines(place: Workplace, removal: Removal, monitor: Monitor) -> None:
    """Remove the machines of a lab side by side: QEMU takes its time to end."""

    def remove(name: str) -> None:
        with place.store.intent(removal.lab, ActionKind.REMOVE_DOMAIN, name):
            place.machines.remove_domain(name, removal.lab)
        monitor.tell(Event(name, "remove", Progress.DONE, _("machine")))

    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        for done in [workers.submit(remove, name) for name in removal.domains]:
            done.result()


def remove_tree(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
