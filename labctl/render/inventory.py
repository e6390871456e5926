"""Renders a plan as an Ansible inventory and the list of plays that configures the lab: data, never text templates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from labctl.plan.model import NetworkKind, Plan, PlannedNode
from labctl.plan.names import MANAGEMENT_PORT
from labctl.topology.hardware import System
from labctl.topology.model import Segment, Topology

# The login shell of labctl's Windows images is PowerShell; ansible-core 2.18 and later speak with it over SSH. Server
# 2016, whose OpenSSH no longer is supported, is reached by psrp instead: see docs/windows-services.md.
WINDOWS: Mapping[str, JsonValue] = {
    "ansible_user": "Administrator",
    "ansible_connection": "ssh",
    "ansible_shell_type": "powershell",
}


@dataclass(frozen=True)
class Access:
    """Where the controller finds the lab's keys: the login key, the pinned host keys and the lab's CA."""

    key: Path
    known_hosts: Path
    ca_certificate: Path
    ca_key: Path


def render_inventory(
    plan: Plan, topology: Topology, access: Access, only: Mapping[str, Sequence[str]] | None = None
) -> dict[str, JsonValue]:
    """Return the inventory in Ansible's JSON/YAML form: one group per service and per wave, variables per host.

    `only` names the services that are applied on some nodes, where these are not all of them.
    """
    groups: dict[str, Any] = {}
    for node in plan.nodes:
        for group in (*node.services, f"wave_{node.wave}"):
            groups.setdefault(group, {"hosts": {}})["hosts"][node.member] = {}
    chosen = only or {}
    hosts: dict[str, JsonValue] = {
        node.member: host_variables(node, chosen.get(node.member, tuple(node.services))) for node in plan.nodes
    }
    return {"all": {"hosts": hosts, "vars": lab_variables(plan, topology, access), "children": groups}}


def lab_variables(plan: Plan, topology: Topology, access: Access) -> dict[str, JsonValue]:
    """Return what is the same for all nodes of a lab."""
    networks: dict[str, JsonValue] = {
        member: {"kind": str(NetworkKind(network.kind)), "cidr": str(network.cidr)}
        if isinstance(network, Segment)
        else {"kind": str(NetworkKind(network.kind)), "cidr": None}
        for member, network in topology.networks.items()
    }
    return {
        "ansible_user": "root",
        "ansible_port": MANAGEMENT_PORT,
        "ansible_ssh_private_key_file": str(access.key),
        # Host keys are known before the first boot: an unknown one is refused, never asked about.
        "ansible_ssh_common_args": " ".join([
            f"-o UserKnownHostsFile={access.known_hosts}", "-o GlobalKnownHostsFile=/dev/null",
            "-o StrictHostKeyChecking=yes", "-o IdentitiesOnly=yes", "-o PasswordAuthentication=no",
        ]),
        "ansible_python_interpreter": "/usr/bin/python3",
        "labctl_lab": plan.lab,
        "labctl_networks": networks,
        "labctl_ca_certificate": str(access.ca_certificate),
        "labctl_ca_key": str(access.ca_key),
    }  # fmt: skip


def host_variables(node: PlannedNode, applied: Sequence[str]) -> dict[str, JsonValue]:
    """Return a node's address, its interfaces, and the parameters of its services under their roles' prefixes."""
    interfaces: dict[str, JsonValue] = {
        interface.name: {
            "network": interface.network, "address": interface.address, "prefix": interface.prefix,
            "mac": interface.mac,
        }
        for interface in node.interfaces
    }  # fmt: skip
    variables: dict[str, JsonValue] = {
        "ansible_host": node.address,
        "labctl_system": str(node.system),
        "labctl_node": node.member,
        "labctl_interfaces": interfaces,
        "labctl_services": list(applied),
    }
    if node.system is System.WINDOWS:
        variables |= WINDOWS
    for service, parameters in node.services.items():
        variables |= {f"{service}_{key}": value for key, value in parameters.items()}
    return variables


def render_plays(waves: Iterable[int]) -> list[dict[str, JsonValue]]:
    """Return one play per wave, in order: inside a wave no node waits for another (strategy free)."""
    return [
        {
            "name": f"Configure wave {wave}",
            "hosts": f"wave_{wave}",
            "gather_facts": False,
            "strategy": "free",
            "tasks": [
                {
                    "name": "Apply the services of the node",
                    "ansible.builtin.include_role": {"name": "{{ labctl_service }}"},
                    "loop": "{{ labctl_services }}",
                    "loop_control": {"loop_var": "labctl_service"},
                }
            ],
        }
        for wave in sorted(set(waves))
    ]
