"""Asks and judges probes of what machines look up by the network: http, dns, zone_transfer, certificate, snmp."""

import json
import shlex
from ipaddress import IPv4Address
from typing import Any

from labctl.checks.kind import CONNECT_TIMEOUT, HANDSHAKE_TIMEOUT, NO_NAME, PROGRAM_TIMEOUT, Asked, Kind, program
from labctl.checks.lines import first_line, last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.language import _
from labctl.topology.name_probes import Certificate, Dns, Dnssec, Http, RecordType, Snmp, ZoneTransfer

MARK = "labctl-status:"  # starts the line that curl adds after the page

DIG_NO_REPLY = 9  # dig(1), RETURN CODES

# curl(1), EXIT CODES: what each says about the flow. Others say nothing about it.
CURL_TIMEOUT = 28
CURL_BLOCKED = {7, CURL_TIMEOUT}
CURL_REACHED = {22, 35, 51, 52, 56, 58, 60, 83}

DAY = 86400  # seconds


def ask_http(probe: Http) -> Asked:
    """The page and, on a line of its own below it, its status, how many connections were made, and its redirection."""
    return program(
        "curl", "--silent", "--show-error", "--noproxy", "*", "--connect-timeout", str(HANDSHAKE_TIMEOUT),
        "--max-time", str(PROGRAM_TIMEOUT - 5),
        "--write-out", f"\n{MARK}%{{http_code}} %{{num_connects}} %{{redirect_url}}",
        probe.url,
    )  # fmt: skip


def judge_http(probe: Http, reply: Reply) -> Verdict:
    """Judge a page by its status, text and redirection; curl has verified the certificate."""
    if reply.code != 0:
        seen = first_line(reply.err)
        known = reply.code in CURL_BLOCKED | CURL_REACHED
        return Verdict(False if known else None, seen)
    page, _mark, line = reply.out.rpartition(MARK)
    status, _connections, location = (*line.strip().split(" ", 2), "", "")[:3]
    if status != str(probe.status):
        return Verdict(False, _("status {found} instead of {wanted}").format(found=status, wanted=probe.status))
    if probe.contains and probe.contains not in page:
        return Verdict(False, _('the page does not hold "{text}"').format(text=probe.contains))
    if probe.redirect and location != probe.redirect:
        return Verdict(False, _('redirects to "{found}"').format(found=location))
    return Verdict(True, _("status {found}").format(found=status))


def late_http(reply: Reply) -> bool:
    """Return whether a server took the connection and was then too slow; one that takes none is blocked or dead."""
    connections = reply.out.rpartition(MARK)[2].split()[1:2]
    return reply.code == CURL_TIMEOUT and connections not in ([], ["0"])


def ask_dns(probe: Dns) -> Asked:
    """The dig command; an address asked for as PTR is turned round by dig itself.

    A name is told by -q: any other word may be an option, and -f reads a file.
    """
    server = [f"@{probe.server}"] if probe.server else []
    options = ["+noall", "+comments", "+answer", "+time=3", "+tries=2", *(["+dnssec"] if probe.dnssec else [])]
    if probe.record is RecordType.PTR and is_address(probe.name):
        return program("dig", *options, *server, "-x", probe.name)
    return program("dig", *options, *server, "-q", probe.name, "-t", str(probe.record))


def is_address(text: str) -> bool:
    """Return whether the text is an IPv4 address."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def judge_dns(probe: Dns, reply: Reply) -> Verdict:
    """Judge dig's answer section."""
    if reply.code == DIG_NO_REPLY:
        return Verdict(False, _("the name server does not answer"))
    if reply.code != 0:
        return Verdict(None, last_line(reply.out or reply.err))
    lines = [line.split(None, 4) for line in reply.out.splitlines() if line.strip() and not line.startswith(";")]
    records = [(fields[3], fields[4].strip()) for fields in lines if len(fields) == 5]  # noqa: PLR2004  dig: name ttl class type data
    answers = [data for kind, data in records if kind != "RRSIG"]
    if not answers:
        return Verdict(False, dns_status(reply.out))
    if probe.dnssec is Dnssec.SIGNED and len(answers) == len(records):
        return Verdict(False, _("the answer is not signed"))
    if probe.dnssec is Dnssec.VALIDATED and "ad" not in dns_flags(reply.out):
        return Verdict(False, _("the server has not verified the answer"))
    found = probe.answer is None or probe.answer.rstrip(".") in [answer.strip('"').rstrip(".") for answer in answers]
    return Verdict(found, ", ".join(answers))


def dns_status(out: str) -> str:
    """Return dig's status word (NXDOMAIN, REFUSED…), or that the answer is empty."""
    _before, found, rest = out.partition("status: ")
    status = rest.partition(",")[0]
    return status if found and status != "NOERROR" else _("empty answer")


def dns_flags(out: str) -> list[str]:
    """Return the flags of an answer, as in ";; flags: qr rd ra ad; QUERY: 1"."""
    return out.partition(";; flags:")[2].partition(";")[0].split()


def ask_zone_transfer(probe: ZoneTransfer) -> Asked:
    """A transfer of the whole zone."""
    return program("dig", f"@{probe.server}", "+time=5", "+tries=1", "+nocmd", "-q", probe.zone, "-t", "AXFR")


def judge_zone_transfer(probe: ZoneTransfer, reply: Reply) -> Verdict:
    """Judge whether records came: only the server's own refusal says that it does not give them."""
    lines = [line.split(None, 4) for line in reply.out.splitlines() if line.strip() and not line.startswith(";")]
    records = [fields for fields in lines if len(fields) == 5]  # noqa: PLR2004  as above
    if any(fields[3] == "SOA" for fields in records):
        return Verdict(True, _("records: {count}").format(count=len(records)))
    said = reply.out + reply.err
    if "Transfer failed" in said or "status: REFUSED" in said:
        return Verdict(False, _("the server refuses to give the zone {zone}").format(zone=probe.zone))
    return Verdict(
        None if reply.code not in (0, DIG_NO_REPLY) else False, last_line(said.replace(";", "")), proof=False
    )


def ask_certificate(probe: Certificate) -> Asked:
    """A TLS connection of the agent, or openssl on a file."""
    authority = probe.authority or ""
    trusted = f" -CAfile {shlex.quote(authority)}" if authority else ""
    if probe.path:
        task: Task = {
            "do": "certificate_file", "path": probe.path, "name": probe.name, "authority": authority,
            "timeout": PROGRAM_TIMEOUT,
        }  # fmt: skip
        path = shlex.quote(probe.path)
        return Asked(
            task, f"openssl verify{trusted} -verify_hostname {shlex.quote(probe.name)} -untrusted {path} {path}"
        )
    host = probe.server or probe.name
    task = {
        "do": "certificate", "host": host, "port": probe.port, "name": probe.name, "authority": authority,
        "timeout": HANDSHAKE_TIMEOUT,
    }  # fmt: skip
    end = shlex.quote(f"{host}:{probe.port}")
    return Asked(
        task, f"openssl s_client -connect {end} -servername {shlex.quote(probe.name)} -verify_return_error{trusted}"
    )


def judge_certificate(probe: Certificate, reply: Reply) -> Verdict:
    """Judge the days left of a certificate that was verified; a server out of reach shows none."""
    if reply.code == NO_NAME:
        return Verdict(None, last_line(reply.err))
    if reply.code == 1:
        return Verdict(False, _("no certificate ({error})").format(error=last_line(reply.err)), proof=False)
    if reply.code != 0:
        return Verdict(False, _("refused: {error}").format(error=last_line(reply.err)))
    facts: dict[str, Any] = json.loads(reply.out)
    days = int(facts["left"]) // DAY
    return Verdict(days >= probe.days, _("days left: {days}").format(days=days))


def ask_snmp(probe: Snmp) -> Asked:
    """One GET, built by the agent."""
    task: Task = {
        "do": "snmp", "host": probe.to, "port": probe.port, "community": probe.community, "oid": probe.oid,
        "timeout": CONNECT_TIMEOUT,
    }  # fmt: skip
    return Asked(task, f"snmpget -v2c -c COMMUNITY {shlex.quote(probe.to)}:{probe.port} {probe.oid}")


def judge_snmp(probe: Snmp, reply: Reply) -> Verdict:
    """Judge a value; an agent does not answer a community that it does not know."""
    if reply.code == NO_NAME:
        return Verdict(None, last_line(reply.err))
    if reply.code == 1:
        return Verdict(False, _("no answer"))
    if reply.code != 0:
        return Verdict(False, last_line(reply.err))
    if probe.contains and probe.contains not in reply.out:
        return Verdict(False, _('the value is "{found}"').format(found=last_line(reply.out)))
    return Verdict(True, last_line(reply.out))


KINDS: tuple[Kind[Any], ...] = (
    Kind(Http, ask_http, judge_http, late_http),
    Kind(Dns, ask_dns, judge_dns),
    Kind(ZoneTransfer, ask_zone_transfer, judge_zone_transfer),
    Kind(Certificate, ask_certificate, judge_certificate),
    Kind(Snmp, ask_snmp, judge_snmp),
)
