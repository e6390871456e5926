"""Joins the doors: one place that knows the home folder, libvirt, the images, the playbooks and the database."""

import os
import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from labctl import playbook, ssh
from labctl.errors import LabctlError
from labctl.hypervisor.delivery import Delivery
from labctl.hypervisor.door import Hypervisor
from labctl.hypervisor.trial import choose_delivery
from labctl.images.given import describe_given
from labctl.images.recipe import recipe_facts
from labctl.images.store import ImageSpec, ImageStore
from labctl.lab import keys
from labctl.lab.doors import Configurator, Freezer, Guests, Images, Machines
from labctl.lab.own_values import Owned, read_own, read_owned
from labctl.lab.site import DEFAULT_URI, Site, ensure_home, home_folder
from labctl.language import _
from labctl.plan.lab import Setting, plan_lab
from labctl.plan.model import ActionKind, Folders, Plan, PlannedImage
from labctl.plan.names import SEATS, digest
from labctl.plan.observed import Endpoint, Observed
from labctl.roles import WatchedRoles
from labctl.shipped import shipped_folder
from labctl.ssh import Login
from labctl.store import Store
from labctl.topology.catalogue import Catalogue, load_catalogue
from labctl.topology.load import Template, read_template
from labctl.topology.model import Topology

LAB_NAME = re.compile("[a-z][a-z0-9-]{0,62}")  # the names of a topology and an owner, 31 letters each, and a dash


@dataclass(frozen=True, kw_only=True)
class Workplace(Site):
    """One installation of labctl. `prefix` starts every libvirt name: a test or a benchmark has one of its own."""

    uri: str
    machines: Machines
    freezer: Freezer
    images: Images
    guests: Guests
    configurator: Configurator
    catalogue: Catalogue
    playbooks: Path
    delivery: Callable[[], Delivery | None] = lambda: Delivery.FIFO  # how saved memory reaches libvirt here, if at all

    @classmethod
    def open(cls, machines: Hypervisor, environment: Mapping[str, str]) -> "Workplace":
        """Return the installation that LABCTL_HOME, LABCTL_URI, LABCTL_PREFIX and LABCTL_MIRROR describe."""
        home = home_folder(environment)
        playbooks = shipped_folder("playbooks")
        ensure_home(home)
        return cls(
            home=home,
            uri=environment.get("LABCTL_URI", DEFAULT_URI),
            prefix=environment.get("LABCTL_PREFIX", ""),
            machines=machines,
            freezer=machines,
            images=ImageStore(home, environment.get("LABCTL_MIRROR", "")),
            guests=ssh,
            configurator=playbook,
            store=Store(home),
            catalogue=known_catalogue(home),
            playbooks=playbooks,
            delivery=partial(choose_delivery, machines, home),
        )

    @cached_property
    def roles(self) -> WatchedRoles:
        """Return the roles, whose hashes are part of what a machine is configured from."""
        return WatchedRoles(self.playbooks)

    @property
    def setting(self) -> Setting:
        """Return what planning takes from here."""
        return Setting(self.home, self.prefix, self.roles.hashes())

    def observe(self, lab: str, seen: Observed | None = None) -> Observed:
        """Return the host with the files of one lab and the images that are built; `seen` saves another look."""
        seen = seen or self.see(f"{self.prefix}{self.seat_of(lab)}.")
        # An image of an older recipe is not the one that is asked for.
        built = frozenset(
            (image.name, image.packages)
            for image in self.images.list_images()
            if image.key == ImageSpec(image.name, image.packages).key
        )
        begun = (target for act, target in self.store.open_intents(lab) if act == ActionKind.CLONE_MACHINE)
        return replace(
            seen, files=find_files(self.folders(lab)), images=built, rebooted=self.was_up_before_reboot(lab),
            unfinished=frozenset(begun),
        )  # fmt: skip

    def who_answers(self, endpoints: Collection[Endpoint], timeout: float) -> frozenset[Endpoint]:
        """Return the endpoints whose kernel accepts a connection; all are asked at once."""
        if not endpoints:
            return frozenset()
        with ThreadPoolExecutor(max_workers=len(endpoints)) as workers:
            asked = {one: workers.submit(self.guests.answers, one.address, timeout, one.port) for one in endpoints}
            return frozenset(endpoint for endpoint, answer in asked.items() if answer.result())

    def folders(self, lab: str) -> Folders:
        """Return where a lab keeps its files. Raises LabctlError for a name that would lead out of the home folder."""
        if not LAB_NAME.fullmatch(lab):
            text = _("a lab is named TOPOLOGY-STUDENT, in small letters, digits and dashes, such as dmz-demo")
            raise LabctlError(text, hint="labctl status")
        seat = self.linked_seat(lab)
        return Folders(self.home / "labs" / SEATS / seat if seat else self.home / "labs" / lab)

    def plan(
        self, topology: Topology, owner: str, golden: str = "", seen: Observed | None = None,
        base: Topology | None = None,
    ) -> Plan:  # fmt: skip
        """Return the plan of a lab from the host as it is now, or as it was `seen`; nothing is written.

        With the id of a golden lab, machines are cloned from it; without, they are built and configured. `base` is
        the topology of the golden lab, where this one has values of the owner's own.
        """
        lab = f"{topology.name}-{owner}"
        observed, seat = self.observe(lab, seen), self.linked_seat(lab)
        return plan_lab(topology, owner, self.catalogue, observed, self.setting, golden=golden, seat=seat, base=base)

    def spec(self, image: PlannedImage) -> ImageSpec:
        """Return what the image store calls a planned image."""
        return ImageSpec(image.recipe, image.packages)

    def image_identity(self, image: PlannedImage) -> str:
        """Return what tells an image from another one: of a given image, its content and its empty disks."""
        spec = self.spec(image)
        found = self.images.find(spec)
        if found is None or found.given is None:
            return spec.key
        disks = found.given.hardware.disks  # the same file may be taken again with others
        return digest(found.digest, repr(tuple(disks.items()))) if disks else found.digest

    def give_to_qemu(self, path: Path) -> None:
        """Hand a file to the user that QEMU runs as; nobody else reads it."""
        os.chown(path, *self.machines.qemu_owner())
        path.chmod(0o600)

    def load_lab(self, lab: str) -> Topology:
        """Return the topology that a lab was made from, from its own copy, with the values of its owner.

        Raises LabctlError for an unknown lab.
        """
        return self.load_owned(lab).topology

    def load_owned(self, lab: str) -> Owned:
        """Return what `load_lab` returns, with the values of its owner and what tells them."""
        template = self.load_template(lab)
        own = read_own(self.folders(lab).top)
        if own is None or lab != f"{own.topology}-{own.owner}":
            return Owned(template.resolve(self.catalogue))
        return read_owned(self.home, template, self.catalogue, own)

    def load_template(self, lab: str) -> Template:
        """Return a lab's own copy of its topology before its variants have values. Raises LabctlError."""
        path = self.folders(lab).topology
        if not path.exists():
            known = ", ".join(self.known_labs()) or _("none")
            text = _('there is no lab "{lab}"; known labs: {known}').format(lab=lab, known=known)
            raise LabctlError(text, hint="labctl status")
        return read_template(path)

    def layout(self, lab: str, topology: Topology) -> Plan:
        """Return what a lab is made of, without looking at the host: names, addresses, folders."""
        owner = lab.removeprefix(f"{topology.name}-")
        return plan_lab(topology, owner, self.catalogue, Observed(), self.setting, seat=self.linked_seat(lab))

    def logins(self, lab: str, topology: Topology) -> dict[str, Login]:
        """Return how to log in to each node of a lab."""
        layout = self.layout(lab, topology)
        return {node.member: keys.login(layout.folders, node) for node in layout.nodes}


def shipped_catalogue() -> Catalogue:
    """Return what topologies may name in the installation that the environment names."""
    return known_catalogue(home_folder(os.environ))


def known_catalogue(home: Path) -> Catalogue:
    """Return what topologies may name: the shipped playbooks and recipes, and the images that were given here."""
    given = [describe_given(image.name, image.given) for image in ImageStore(home).list_images() if image.given]
    return load_catalogue(shipped_folder("playbooks"), (*recipe_facts(), *given))


def find_files(folders: Folders) -> frozenset[str]:
    """Return the disks and identities of a lab that exist."""
    found = [*folders.top.glob("disks/*.qcow2"), *folders.top.glob("identity/*")]
    return frozenset(str(path) for path in found)
