"""Asks and judges probes of flows and paths: ping, tcp, udp, traceroute, flow, vpn, dhcp, ntp."""

import json
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from pydantic import JsonValue

from labctl.checks.kind import CONNECT_TIMEOUT, NO_NAME, PROGRAM_TIMEOUT, Asked, Kind, program
from labctl.checks.lines import last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.language import _, decimal
from labctl.topology.network_probes import (
    Alive,
    Allowed,
    Denied,
    Dhcp,
    Flow,
    Ntp,
    Ping,
    Protocol,
    Tcp,
    Traceroute,
    Tunnel,
    Udp,
    Vpn,
)

DHCP_TIMEOUT = 6  # seconds for three questions
TRACE_TIMEOUT = 6  # seconds for two questions; a neighbour that is not there is given up after three
EXTRA_HOPS = 4  # looked for beyond the expected ones
STOPPED = {"refused", "silent"}


def ask_ping(probe: Ping) -> Asked:
    """Two echoes, so that one lost packet decides nothing."""
    return program("ping", "-n", "-c", "2", "-i", "0.5", "-W", "3", probe.to)


def judge_ping(_probe: Ping, reply: Reply) -> Verdict:
    """ping(8): 0 answered, 1 no answer, 2 something else went wrong."""
    if reply.code == 0:
        return Verdict(True, _("it answers"))
    if reply.code == 1:
        return Verdict(False, _("no answer"))
    return Verdict(None, last_line(reply.err))


def ask_tcp(probe: Tcp) -> Asked:
    """A connection that is closed at once."""
    task: Task = {"do": "tcp", "host": probe.to, "port": probe.port, "timeout": CONNECT_TIMEOUT}
    return Asked(task, f"nc -vz -w {CONNECT_TIMEOUT} {shlex.quote(probe.to)} {probe.port}")


def judge_tcp(_probe: Tcp, reply: Reply) -> Verdict:
    """Judge a connection; a name that does not resolve says nothing about the flow."""
    if reply.code == 0:
        return Verdict(True, _("the connection opens"))
    if reply.code == 1:
        return Verdict(False, _("no connection ({error})").format(error=last_line(reply.err)))
    return Verdict(None, last_line(reply.err))


def ask_udp(probe: Udp) -> Asked:
    """Three datagrams, so that one lost packet decides nothing."""
    task: Task = {
        "do": "udp", "host": probe.to, "port": probe.port, "send": probe.send or "", "timeout": CONNECT_TIMEOUT,
    }  # fmt: skip
    return Asked(task, f"nc -u -w {CONNECT_TIMEOUT} {shlex.quote(probe.to)} {probe.port}")


def judge_udp(probe: Udp, reply: Reply) -> Verdict:
    """Judge an answer; silence is none."""
    if reply.code == NO_NAME:
        return Verdict(None, last_line(reply.err))
    if reply.code != 0:
        return Verdict(False, flow_state(reply.err.strip()))
    if probe.contains and probe.contains not in reply.out:
        return Verdict(False, _('the answer does not hold "{text}"').format(text=probe.contains))
    return Verdict(True, _("it answers"))


def ask_traceroute(probe: Traceroute) -> Asked:
    """ICMP echoes with a growing TTL: the agent sends them itself, so that no program must be installed."""
    hops = len(probe.via) + EXTRA_HOPS
    task: Task = {"do": "trace", "host": probe.to, "hops": hops, "timeout": TRACE_TIMEOUT}
    return Asked(task, f"traceroute -n -I -m {hops} {shlex.quote(probe.to)}")


def judge_traceroute(probe: Traceroute, reply: Reply) -> Verdict:
    """Judge the routers seen; one that keeps silent between the others may be any."""
    if reply.code not in (0, 1):
        return Verdict(None, last_line(reply.err))
    seen = [line.split()[1] for line in reply.out.splitlines()]
    routers = seen[:-1] if reply.code == 0 else seen
    wanted = [str(address) for address in probe.via]
    way = " → ".join(seen) or "*"
    fits = all(found in ("*", expected) for found, expected in zip(routers, wanted, strict=False))
    if not fits or len(routers) > len(wanted) or (reply.code == 0 and len(routers) < len(wanted)):
        return Verdict(False, _("other way: {way}").format(way=way))
    if reply.code != 0:
        complete = [router for router in routers if router != "*"] == wanted
        return Verdict(None if complete else False, _("the way ends: {way}").format(way=way))
    if "*" in routers:
        return Verdict(None, _("a router keeps silent: {way}").format(way=way))
    return Verdict(True, way)


def flow_task(flows: Sequence[Mapping[str, JsonValue]]) -> Task:
    """Return the agent's task of trying flows."""
    return {"do": "flows", "flows": [dict(flow) for flow in flows], "timeout": CONNECT_TIMEOUT}


def plain_flow(one: Allowed) -> dict[str, JsonValue]:
    """Return a flow as the agent takes it."""
    return {"host": one.to, "protocol": str(one.protocol), "port": one.port or 0}


def alive_flow(denied: Denied, alive: Alive) -> dict[str, JsonValue]:
    """Return the flow that shows that the target of a denied one lives."""
    return {"host": alive.to or denied.to, "protocol": str(alive.protocol), "port": alive.port or denied.port or 0}


def proofs(probe: Flow) -> dict[str, list[tuple[int, dict[str, JsonValue]]]]:
    """Return what shows that targets live: by node ("" for the check's own), positions in `deny` with their flow."""
    found: dict[str, list[tuple[int, dict[str, JsonValue]]]] = {}
    for position, denied in enumerate(probe.deny):
        if denied.alive:
            found.setdefault(denied.alive.origin or "", []).append((position, alive_flow(denied, denied.alive)))
    return found


def ask_flow(probe: Flow) -> Asked:
    """All flows at once; what shows that targets live is tried with them, or from its own node."""
    shown = proofs(probe)
    own = [plain_flow(one) for one in (*probe.allow, *probe.deny)] + [flow for _position, flow in shown.pop("", [])]
    then = {node: flow_task([flow for _position, flow in flows]) for node, flows in shown.items()}
    commands = [flow_command(one) for one in (*probe.allow, *probe.deny)]
    return Asked(flow_task(own), "; ".join(commands), then)


def flow_command(one: Allowed) -> str:
    """Return the command by which a person would try a flow."""
    host = shlex.quote(one.to)
    if one.protocol is Protocol.ICMP:
        return f"ping -c 2 {host}"
    return f"nc {'-u ' if one.protocol is Protocol.UDP else ''}-vz -w {CONNECT_TIMEOUT} {host} {one.port}"


def judge_flow(probe: Flow, reply: Reply) -> Verdict:
    """Judge flow by flow: one that is wrong decides, then one that shows nothing."""
    states: list[str] = json.loads(reply.out)
    planned = len(probe.allow) + len(probe.deny)
    shown = proofs(probe)
    lives = dict(zip([position for position, _flow in shown.pop("", [])], states[planned:], strict=True))
    for node, flows in shown.items():
        answer = reply.then.get(node, Reply(error="timeout"))
        known = ["no-name"] * len(flows) if answer.error else json.loads(answer.out)
        lives |= dict(zip([position for position, _flow in flows], known, strict=True))
    wrong: list[str] = []
    unknown: list[str] = []
    for one, state in zip(probe.allow, states[: len(probe.allow)], strict=True):
        if state != "open":
            (unknown if state == "no-name" else wrong).append(f"{flow_name(one)}: {flow_state(state)}")
    for position, (denied, state) in enumerate(zip(probe.deny, states[len(probe.allow) : planned], strict=True)):
        if state == "open":
            wrong.append(_("{flow}: passes").format(flow=flow_name(denied)))
        elif lives.get(position, "open") != "open":
            text = _("{flow}: stopped, but its target shows no life")
            unknown.append(text.format(flow=flow_name(denied)))
        elif state not in STOPPED and not (state == "unreachable" and position in lives):
            unknown.append(f"{flow_name(denied)}: {flow_state(state)}")
    if wrong:
        return Verdict(False, "; ".join(wrong))
    if unknown:
        return Verdict(None, "; ".join(unknown))
    text = _("as planned; flows that pass: {allowed}, flows that are stopped: {denied}")
    return Verdict(True, text.format(allowed=len(probe.allow), denied=len(probe.deny)))


def flow_name(one: Allowed) -> str:
    """Return a flow as people write it."""
    return f"{one.to} {one.protocol}" + (f"/{one.port}" if one.port else "")


def flow_state(state: str) -> str:
    """Return what happened to a flow, for people."""
    return {
        "open": _("it answers"),
        "refused": _("refused"),
        "silent": _("no answer"),
        "unreachable": _("the target is out of reach"),
        "no-name": _("the name is unknown"),
    }.get(state, last_line(state))


def ask_vpn(probe: Vpn) -> Asked:
    """WireGuard's last handshakes, or strongSwan's security associations."""
    if probe.tunnel is Tunnel.IPSEC:
        return program("swanctl", "--list-sas", "--ike", probe.name)
    task: Task = {"do": "handshakes", "interface": probe.name, "timeout": PROGRAM_TIMEOUT}
    return Asked(task, f"wg show {shlex.quote(probe.name)} latest-handshakes")


def judge_vpn(probe: Vpn, reply: Reply) -> Verdict:
    """Judge the age of handshakes, or whether a security association and a child of it stand."""
    if probe.tunnel is Tunnel.IPSEC:
        return judge_ipsec(reply)
    if reply.code != 0:
        missing = "No such device" in reply.err
        return Verdict(False if missing else None, last_line(reply.err))
    ages: dict[str, int] = json.loads(reply.out)
    looked_at = [age for key, age in ages.items() if probe.peer in (None, key)]
    fresh = [age for age in looked_at if 0 <= age <= probe.seconds]
    if fresh:
        return Verdict(True, _("last handshake {seconds} s ago").format(seconds=min(fresh)))
    old = [age for age in looked_at if age >= 0]
    if old:
        return Verdict(False, _("last handshake {seconds} s ago").format(seconds=min(old)))
    return Verdict(False, _("never a handshake") if looked_at else _("the peer is not known"))


def judge_ipsec(reply: Reply) -> Verdict:
    """swanctl(8) prints one block for each association; without any it prints nothing."""
    if reply.code != 0:
        stopped = "connecting to" in reply.err and "failed" in reply.err
        return Verdict(False if stopped else None, last_line(reply.err))
    if "ESTABLISHED" not in reply.out:
        return Verdict(False, _("no security association"))
    if "INSTALLED" not in reply.out:
        return Verdict(False, _("the tunnel has no child association: no subnet goes through it"))
    return Verdict(True, _("the tunnel stands"))


def ask_dhcp(probe: Dhcp) -> Asked:
    """A client of the agent's own, with a MAC of its own."""
    task: Task = {"do": "dhcp", "interface": probe.interface, "lease": probe.lease, "timeout": DHCP_TIMEOUT}
    return Asked(task, f"nmap --script broadcast-dhcp-discover -e {probe.interface}")


def judge_dhcp(probe: Dhcp, reply: Reply) -> Verdict:
    """Judge what was offered, by whom and with which options."""
    if reply.code == 1:
        return Verdict(False, _("no DHCP server offers an address"))
    if reply.code not in (0, 3):
        return Verdict(None, last_line(reply.err))
    offers: list[dict[str, Any]] = json.loads(reply.out)
    for offer in offers:
        wrong = offer_trouble(probe, offer)
        if wrong:
            return Verdict(False, wrong)
    if reply.code != 0:
        return Verdict(False, _("the address is offered, but not given"))
    text = _("{address} offered by {server}")
    return Verdict(True, text.format(address=offers[0]["address"], server=offers[0]["server"]))


def offer_trouble(probe: Dhcp, offer: Mapping[str, Any]) -> str:
    """Return what is wrong with an offer, nothing where it is as expected."""
    address, server = str(offer["address"]), str(offer["server"])
    if probe.server and server != str(probe.server):
        return _("{server} offers addresses too: {address}").format(server=server, address=address)
    low, high = probe.first or IPv4Address(0), probe.last or IPv4Address("255.255.255.255")
    if not low <= IPv4Address(address) <= high:
        return _("{address} is outside the range").format(address=address)
    for name, wanted, found in (
        (_("gateway"), [str(probe.router)] if probe.router else [], offer["router"]),
        (_("DNS servers"), [str(one) for one in probe.dns], offer["dns"]),
    ):
        if wanted and found != wanted:
            return _("{option}: {found}").format(option=name, found=", ".join(map(str, found)) or _("none"))
    return ""


def ask_ntp(probe: Ntp) -> Asked:
    """A question to a time server, or to the node's own clock keeper."""
    if probe.server:
        task: Task = {"do": "sntp", "host": probe.server, "timeout": CONNECT_TIMEOUT}
        return Asked(task, f"chronyd -Q -t 5 {shlex.quote(f'server {probe.server} iburst')}")
    return Asked({"do": "clock"}, "chronyc tracking || timedatectl")


def judge_ntp(probe: Ntp, reply: Reply) -> Verdict:
    """Judge the difference of the clocks; a server that is itself not synchronised is no help."""
    if probe.server and reply.code == 1:
        return Verdict(
            False, _("the time server does not answer ({error})").format(error=flow_state(reply.err.strip()))
        )
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    found: dict[str, Any] = json.loads(reply.out)
    synchronised = 0 < found["stratum"] < 16 and found["leap"] != 3 if probe.server else found["synchronised"]  # noqa: PLR2004  RFC 5905
    if not synchronised:
        return Verdict(False, _("not synchronised"))
    if found["offset"] is None:
        return Verdict(True, _("synchronised"))
    milliseconds = abs(float(found["offset"])) * 1000
    text = _("{offset} ms off").format(offset=decimal(milliseconds))
    return Verdict(milliseconds <= probe.milliseconds, text)


KINDS: tuple[Kind[Any], ...] = (
    Kind(Ping, ask_ping, judge_ping),
    Kind(Tcp, ask_tcp, judge_tcp),
    Kind(Udp, ask_udp, judge_udp),
    Kind(Traceroute, ask_traceroute, judge_traceroute),
    Kind(Flow, ask_flow, judge_flow),
    Kind(Vpn, ask_vpn, judge_vpn),
    Kind(Dhcp, ask_dhcp, judge_dhcp),
    Kind(Ntp, ask_ntp, judge_ntp),
)
