"""Executes a plan step by step: networks, machines, boot, configuration, then the gate that alone says "ready"."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from labctl.checks.model import Outcome, Result
from labctl.crew import Crew
from labctl.errors import LabctlError
from labctl.hypervisor.delivery import sweep
from labctl.images.overlay import chain
from labctl.lab import keys
from labctl.lab.appliance import has_agent, wait_appliance
from labctl.lab.board import clear_board
from labctl.lab.checking import SshProber, run_checks
from labctl.lab.console_log import read_console_tail
from labctl.lab.disks import create_disks
from labctl.lab.estimate import IMAGE, boot_work, clone_work, configure_work, gate_work
from labctl.lab.identity import write_identity
from labctl.lab.thaw import Mould, personalise_windows
from labctl.lab.wish import Pace, Progressed, Stop, Wish
from labctl.lab.workplace import Workplace
from labctl.language import _
from labctl.monitor import Event, Monitor, Progress
from labctl.plan.model import Action, ActionKind, Plan, PlannedNode, Reason
from labctl.playbook import NodeReport
from labctl.render.identity import Keys
from labctl.render.inventory import render_inventory, render_plays
from labctl.render.xml import render_domain, render_network
from labctl.topology.hardware import System

BOOT_DEADLINE = 60  # seconds on real hardware acceleration; scaled by the accelerator's factor
WINDOWS_BOOT_DEADLINE = 900  # a new clone goes through Setup's last passes, with restarts
APPLIANCE_DEADLINE = 180  # a firewall's web server is the last thing that it starts
LOGIN_DEADLINE = 15
WORKERS = 4
GUEST_STEPS = frozenset({"boot", "login", "resume", "personalise"})  # where the console says more than the error


def boot_deadline(node: PlannedNode) -> float:
    """Return how long a node may take from power to its agent, in seconds with hardware acceleration."""
    return WINDOWS_BOOT_DEADLINE if node.system is System.WINDOWS else BOOT_DEADLINE


@dataclass
class Ascent:
    """One run of `up` on one lab."""

    place: Workplace
    wish: Wish
    plan: Plan
    pace: Callable[[Path], Pace]
    monitor: Monitor
    stop: Stop
    result: Progressed = field(default_factory=Progressed)
    secrets: dict[str, Keys] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)  # nodes that have answered a login after all that is done to them

    def run(self) -> Progressed:
        """Do the plan's actions and the gate; a node that fails does not hold back the others."""
        start = time.monotonic()
        self.result.changed = bool(self.plan.actions)
        for step in (self.build_images, self.create_machines, self.clone_machines,
                     self.define_machines, self.boot, self.configure,
                     self.gate):  # fmt: skip
            self.stop.raise_if_asked(self.plan.lab)
            step()
        anew = (*self.plan.actions_of(ActionKind.CREATE_MACHINE), *self.plan.actions_of(ActionKind.CLONE_MACHINE))
        self.place.store.forget_faults(self.plan.lab, {action.target for action in anew} - self.result.failures.keys())
        self.place.store.close_intents(self.plan.lab, self.result.failures)
        self.result.seconds = time.monotonic() - start
        return self.result

    def lay_networks(self) -> None:
        """Remove what must go and create the networks: what `run` builds on."""
        self.remove_old()
        self.create_networks()

    def build_images(self) -> None:
        """Build what is missing; images are shared by all labs and have a lock of their own."""
        wanted = {action.target for action in self.plan.actions_of(ActionKind.BUILD_IMAGE)}
        for image in {node.image: None for node in self.plan.nodes if str(node.image) in wanted}:
            self.stop.raise_if_asked(self.plan.lab)
            with self.timed(IMAGE):
                self.place.images.ensure(self.place.spec(image), self.monitor)

    def remove_old(self) -> None:
        """Remove what the topology no longer names, and what is to be made anew."""
        for action in self.plan.actions_of(ActionKind.REMOVE_DOMAIN):
            with self.intent(action):
                self.place.machines.remove_domain(action.target, self.plan.seat)
        for action in self.plan.actions_of(ActionKind.REMOVE_NETWORK):
            with self.intent(action):
                self.place.machines.remove_network(action.target, self.plan.seat)

    def create_networks(self) -> None:
        """Define and start the networks, side by side: libvirt mostly waits for the kernel and its packet filter."""
        networks = {network.member: network for network in self.plan.networks}
        validated = self.wish.golden is not None  # its networks were, by the same template

        def create(action: Action) -> None:
            with self.intent(action):
                self.place.machines.create_network(render_network(networks[action.target]), validated=validated)
            self.tell(action.target, "network", Progress.DONE)

        with Crew(WORKERS) as workers:
            list(workers.map(create, self.plan.actions_of(ActionKind.CREATE_NETWORK)))

    def create_machines(self) -> None:
        """Write the lab's folder and secrets, then make the new machines side by side."""
        folders = self.plan.folders
        for folder in (
            folders.top,
            folders.disk("x").parent,
            folders.identity("x").parent,
            folders.serial_log("x").parent,
        ):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        golden = self.wish.golden
        if golden and len(self.plan.actions_of(ActionKind.CLONE_MACHINE)) == len(self.plan.nodes):
            keys.copy_inherited(golden.secrets, folders.secrets)
        self.secrets = keys.ensure_keys(folders, self.plan.lab, self.plan.nodes)
        self.each(self.plan.actions_of(ActionKind.CREATE_MACHINE), "create", self.create_machine)

    def create_machine(self, action: Action) -> None:
        """Make one machine: identity, disks, definition, in this order, so that a defined machine is whole."""
        node = self.plan.node(action.target)
        folders = self.plan.folders
        image = self.place.images.find(self.place.spec(node.image))
        if image is None:
            raise LabctlError(
                _('the image "{image}" is missing').format(image=node.image),
                hint=f"labctl image build {node.image.recipe}",
            )
        with self.intent(action):
            self.place.machines.remove_domain(node.name, self.plan.seat)
            self.place.images.check(image)
            write_identity(self.place, folders, node, self.secrets[node.member])
            clear_board(folders, node)
            create_disks(self.place, image, folders, node)
            networks = {network.member: network for network in self.plan.networks}
            xml = render_domain(node, networks, folders, self.pace(image.path).accelerator)
            self.place.machines.define_domain(xml)

    def clone_machines(self) -> None:
        """Make clones that wait, let all nodes of the lab run on together, then give each what is its own.

        Their making is noted as begun until they are through the gate: a disk that a crash left without a machine
        is a student's work only when nothing here is unfinished.
        """
        actions = self.plan.actions_of(ActionKind.CLONE_MACHINE)
        golden = self.wish.golden
        if not actions or golden is None:
            return
        golden.check()
        sweep(golden.state("x").parent)
        networks = {network.member: network for network in self.plan.networks}
        pace = self.pace(golden.disk(actions[0].target))
        mould = Mould(self.place, golden, networks, self.plan.folders, pace.accelerator, self.place.delivery())
        self.place.store.begin(self.plan.lab, [(action.kind, action.target) for action in actions])
        with self.timed(clone_work(len(actions))):
            self.each(actions, "clone", lambda action: self.clone_machine(action, mould))
            for step, act in (("resume", self.resume_machine), ("personalise", self.personalise_machine)):
                alive = [action for action in actions if action.target not in self.result.failures]
                self.each(alive, step, partial(act, mould, pace.factor), workers=len(alive))

    def clone_machine(self, action: Action, mould: Mould) -> None:
        """Make one clone; say so where its memory cannot be used here and it will boot instead."""
        node = self.plan.node(action.target)
        if not mould.cast(node, self.secrets[node.member]):
            self.tell(node.member, "clone", Progress.RUNNING, _("its saved memory cannot be used: cold boot"))

    def resume_machine(self, _mould: Mould, factor: float, action: Action) -> None:
        """Let a clone run on, or boot, and wait for its agent."""
        node = self.plan.node(action.target)
        self.start(node, factor)

    def start(self, node: PlannedNode, factor: float) -> None:
        """Start one machine and wait until its agent answers, or what it has instead."""
        self.place.machines.start_domain(node.name, self.plan.seat)
        if has_agent(node):
            self.place.machines.wait_agent(node.name, boot_deadline(node) * factor)
        else:
            wait_appliance(self.plan.folders, node, APPLIANCE_DEADLINE * factor)

    def personalise_machine(self, mould: Mould, factor: float, action: Action) -> None:
        """Give a clone its own keys, time and leases, and log in where neither Ansible nor a ready check will.

        Here and not at the gate: on few processors, the logins of a whole lab at once hold each other up.
        """
        node = self.plan.node(action.target)
        mould.personalise(node, self.secrets[node.member], LOGIN_DEADLINE * factor)
        later = {other.target for other in self.plan.actions_of(ActionKind.CONFIGURE)}
        later |= {check.origin for check in self.wish.topology.checks if check.ready}
        if node.member not in later and has_agent(node):
            self.tell(node.member, "login", Progress.STARTED)
            self.log_in(node)
            self.answered.add(node.member)
            self.tell(node.member, "login", Progress.DONE)

    def define_machines(self) -> None:
        """Define machines that somebody removed from libvirt again, on the disks that they had."""
        self.each(self.plan.actions_of(ActionKind.DEFINE_MACHINE), "define", self.define_machine)

    def define_machine(self, action: Action) -> None:
        """Define one machine again. Its mark says what it would say now, and from which golden lab its disk comes."""
        node = self.plan.node(action.target)
        files = chain(self.plan.folders.disk(node.member))
        top = self.place.home / "golden"
        golden = next((path.relative_to(top).parts[0] for path in files if top in path.parents), node.tag.golden)
        kept = replace(node, tag=replace(node.tag, golden=golden))
        with self.intent(action):
            write_identity(self.place, self.plan.folders, node, self.secrets[node.member])
            networks = {network.member: network for network in self.plan.networks}
            xml = render_domain(kept, networks, self.plan.folders, self.pace(files[-1]).accelerator, made=True)
            self.place.machines.define_domain(xml)

    def boot(self) -> None:
        """Start what does not run, and wait until each answers a login."""
        actions = [
            action
            for action in self.plan.actions_of(ActionKind.START_MACHINE)
            if action.target not in self.result.failures
        ]
        if actions:
            with self.timed(boot_work(len(actions))):
                self.each(actions, "boot", self.boot_machine, workers=len(actions))

    def boot_machine(self, action: Action) -> None:
        """Start one machine and wait for its agent, which the image starts after sshd, then for a login.

        A Windows gets the key of its SSH server and its password here, at its first start: on its disc, everybody who
        works on it would read them.
        """
        node = self.plan.node(action.target)
        factor = self.pace(self.plan.folders.disk(node.member)).factor
        with self.intent(action):
            self.start(node, factor)
            if node.system is System.WINDOWS:
                own, deadline = self.secrets[node.member], boot_deadline(node) * factor
                personalise_windows(self.place, self.plan.folders, node, own, deadline, first=True)
            if has_agent(node):
                self.place.guests.wait_login(keys.login(self.plan.folders, node), LOGIN_DEADLINE * factor)

    def configure(self) -> None:
        """Run the playbooks on the nodes that need it, all in one run; mark those that end well."""
        wanted = self.plan.actions_of(ActionKind.CONFIGURE)
        silent = {action.target for action in wanted if not has_agent(self.plan.node(action.target))}
        ready = [action for action in wanted if action.target in silent - self.result.failures.keys()]
        self.each(ready, "configure", self.configure_appliance)
        actions = [action for action in wanted if action.target not in silent]
        targets = [action.target for action in actions if action.target not in self.result.failures]
        if not targets:
            return
        folders = self.plan.folders
        # What the golden lab has is right already where only the owner's values differ from it.
        only = {
            action.target: self.plan.node(action.target).varied
            for action in actions
            if action.reason is Reason.OWN_VALUES
        }
        self.each([action for action in actions if action.target in only], "login", self.await_login)
        targets = [target for target in targets if target not in self.result.failures]
        inventory = render_inventory(self.plan, self.wish.topology, keys.access(folders), only)
        plays = render_plays(self.plan.node(target).wave for target in targets)
        intents = ", ".join(targets)
        work = self.timed(configure_work(self.plan.topology))
        with self.place.store.intent(self.plan.lab, ActionKind.CONFIGURE, intents), work:
            report = self.place.configurator.configure(
                folders.ansible, plays, inventory, self.place.playbooks / "roles", self.monitor, limit=targets
            )
            for target in targets:
                self.settle(self.plan.node(target), report.nodes[target])

    def configure_appliance(self, action: Action) -> None:
        """Let a firewall read its configuration: a new one has done so, another one restarts with the new medium."""
        node = self.plan.node(action.target)
        with self.intent(action):
            if action.reason is not Reason.NEW:
                write_identity(self.place, self.plan.folders, node, self.secrets[node.member])
                self.place.freezer.destroy_domain(node.name, self.plan.seat)
                self.start(node, self.pace(self.plan.folders.disk(node.member)).factor)
            if not self.plan.golden:
                self.place.machines.mark_configured(node.name, self.plan.seat, node.tag.configured)

    def settle(self, node: PlannedNode, report: NodeReport) -> None:
        """Mark a configured node, or keep why it is not. A clone gets its mark at the gate."""
        clones = {action.target for action in self.plan.actions_of(ActionKind.CLONE_MACHINE)}
        if report.succeeded and node.member in clones:
            return
        if report.succeeded:
            self.place.machines.mark_configured(node.name, self.plan.seat, node.tag.configured)
        else:
            self.result.failures[node.member] = LabctlError(
                report.explain(), hint=f"labctl logs {self.plan.lab} --ansible"
            )

    def gate(self) -> None:
        """Say "ready" only of nodes that answer a login now and whose ready checks pass.

        A clone is marked as made here, and not before: without the mark, nobody has worked on it, and the next
        run makes it anew.
        """
        with self.timed(gate_work(self.plan.topology)):
            self.pass_gate()
        for action in self.plan.actions_of(ActionKind.CLONE_MACHINE):
            if action.target not in self.result.failures:
                node = self.plan.node(action.target)
                self.place.machines.mark_configured(node.name, self.plan.seat, node.tag.configured)

    def pass_gate(self) -> None:
        """Log in on every node and run the ready checks, side by side; asking a node for its checks is a login too.

        A clone that answered a login after all that was done to it is not asked for another one.
        """
        nodes = {node.member: node for node in self.plan.nodes if node.member not in self.result.failures}
        checks = [check for check in self.wish.topology.checks if check.ready and check.node in nodes]
        asked = {check.origin for check in checks}
        heard = asked | self.answered | {name for name, node in nodes.items() if not has_agent(node)}
        quiet = [Action(ActionKind.START_MACHINE, name, Reason.REQUESTED) for name in nodes if name not in heard]
        logins = {name: keys.login(self.plan.folders, node) for name, node in nodes.items()}
        with Crew(max_workers=1) as other:
            checking = other.submit(run_checks, checks, SshProber(self.place.guests, logins), self.monitor)
            self.each(quiet, "login", lambda action: self.log_in(nodes[action.target]), workers=len(quiet))
            self.result.outcomes = checking.result()
        for outcome in self.result.outcomes:
            if outcome.result is not Result.PASSED:
                self.result.failures.setdefault(outcome.check.node, self.not_ready(outcome))

    def not_ready(self, outcome: Outcome) -> LabctlError:
        """Return the error of a node whose ready check does not pass."""
        text = _('{node}: the check "{check}" does not pass: {seen}')
        node, check = outcome.check.node, outcome.check.id
        said = text.format(node=node, check=check, seen=outcome.seen)
        self.tell(node, "check", Progress.FAILED, said)
        return LabctlError(said + self.last_words(node), hint=f"labctl check {self.plan.lab}")

    def await_login(self, action: Action) -> None:
        """Wait until a clone lets labctl in with the lab's own key."""
        self.log_in(self.plan.node(action.target))

    def log_in(self, node: PlannedNode) -> None:
        """Make a real login on a node."""
        factor = self.pace(self.plan.folders.disk(node.member)).factor
        self.place.guests.wait_login(keys.login(self.plan.folders, node), LOGIN_DEADLINE * factor)

    def each(self, actions: Sequence[Action], step: str, act: Callable[[Action], None], workers: int = WORKERS) -> None:
        """Do an act for each action side by side; an error is kept with its node, with the console's last words."""

        def attempt(action: Action) -> None:
            node = action.target
            self.tell(node, step, Progress.STARTED)
            try:
                act(action)
            except LabctlError as exc:
                self.result.failures[node] = exc
                self.tell(node, step, Progress.FAILED, exc.message)
                if step in GUEST_STEPS:
                    exc.message += self.last_words(node)
            else:
                self.tell(node, step, Progress.DONE)

        with Crew(max_workers=max(1, workers)) as pool:
            for done in [pool.submit(attempt, action) for action in actions]:
                done.result()

    def last_words(self, node: str) -> str:
        """Return the end of a node's console, for an error about it."""
        return read_console_tail(self.plan.folders.serial_log(node))

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Keep how long this kind of work took where it ended well: the next estimate is made of it."""
        start, failed = time.monotonic(), len(self.result.failures)
        yield
        if len(self.result.failures) == failed:
            self.place.store.add_timing(what, time.monotonic() - start)

    def tell(self, subject: str, step: str, progress: Progress, detail: str = "") -> None:
        """Tell the monitor."""
        self.monitor.tell(Event(subject, step, progress, detail))

    def intent(self, action: Action) -> AbstractContextManager[None]:
        """Commit the intent before the act."""
        return self.place.store.intent(self.plan.lab, action.kind, action.target)
