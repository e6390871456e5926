"""Asks and judges the probes of Windows machines alone: features, registry, rights, policies, ranges, events, rules."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labctl.checks.accounts import is_account, is_always_there
from labctl.checks.kind import Asked, Kind
from labctl.checks.lines import last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.language import _
from labctl.powershell import quote
from labctl.topology.windows_probes import (
    Dcdiag,
    DhcpScope,
    EventLog,
    Feature,
    FirewallRule,
    Ntfs,
    NtfsRight,
    Policy,
    Registry,
    Share,
)

HIVES = {"HKLM": "HKEY_LOCAL_MACHINE", "HKU": "HKEY_USERS", "HKCR": "HKEY_CLASSES_ROOT", "HKCC": "HKEY_CURRENT_CONFIG"}
DIAGNOSIS_TIMEOUT = 120  # seconds
FULL_CONTROL, WRITE_DATA, READ_DATA = 0x1F01FF, 0x2, 0x1  # System.Security.AccessControl.FileSystemRights
GENERIC_ALL, GENERIC_WRITE, GENERIC_READ = 0x10000000, 0x40000000, 0x80000000  # winnt.h
ORDER = tuple(NtfsRight)
# dcdiag ends with 0 whatever it finds, and says it in the language of Windows: in French, on the line below the dots.
VERDICT = re.compile(r"\.{5,}([^\n]*(?:\n(?!\s*\.{5})[^\n]*)?)")
FAILED = re.compile("fail|échou", re.IGNORECASE)


def nothing(reply: Reply, missing: str) -> Verdict | None:
    """Return the verdict of a reply that has no facts: 1 says that the thing is not there, another code nothing."""
    if reply.code == 1:
        return Verdict(False, missing)
    return Verdict(None, last_line(reply.err)) if reply.code != 0 else None


def ask_feature(probe: Feature) -> Asked:
    """What the server manager says of a feature."""
    return Asked({"do": "feature", "name": probe.name}, f"Get-WindowsFeature {probe.name}")


def judge_feature(_probe: Feature, reply: Reply) -> Verdict:
    """Judge a feature: installed, and not only available."""
    state = reply.out.strip()
    return nothing(reply, _("Windows has no such feature")) or Verdict(state == "Installed", state)


def ask_registry(probe: Registry) -> Asked:
    """The value, as a text."""
    hive, _mark, rest = probe.key.partition("\\")
    key = f"{HIVES[hive]}\\{rest}"
    task = {"do": "registry", "key": key, "value": probe.value}
    return Asked(task, f"Get-ItemProperty -LiteralPath {quote(f'Registry::{key}')} -Name {quote(probe.value)}")


def judge_registry(probe: Registry, reply: Reply) -> Verdict:
    """Judge a value by its text."""
    found = reply.out.strip()
    wanted = probe.equals is None or found == probe.equals
    return nothing(reply, _("there is no such value")) or Verdict(wanted, found)


def ask_ntfs(probe: Ntfs) -> Asked:
    """The owner and the list of rights."""
    return Asked({"do": "file", "path": probe.path}, f"icacls {quote(probe.path)}")


def level_of(rights: int) -> NtfsRight | None:
    """Return what a bit field of rights amounts to, None for less than reading."""
    if rights & GENERIC_ALL or rights & FULL_CONTROL == FULL_CONTROL:
        return NtfsRight.FULL
    if rights & (WRITE_DATA | GENERIC_WRITE):
        return NtfsRight.WRITE
    return NtfsRight.READ if rights & (READ_DATA | GENERIC_READ) else None


def highest(account: str, rules: Iterable[Mapping[str, Any]]) -> NtfsRight | None:
    """Return the most that rules give an account here."""
    found = [level_of(rule["rights"]) for rule in rules if is_account(account, rule)]
    return max((one for one in found if one), key=ORDER.index, default=None)


def judge_ntfs(probe: Ntfs, reply: Reply) -> Verdict:
    """Judge who owns a folder and who may what there; a right too many is as wrong as one too few."""
    if gone := nothing(reply, _("the file does not exist")):
        return gone
    facts: Mapping[str, Any] = json.loads(reply.out)
    if probe.owner and not is_account(probe.owner, facts["owner"]):
        return Verdict(False, _("owned by {found}").format(found=facts["owner"]["name"]))
    here = [rule for rule in facts["rules"] if rule["here"]]
    allowed = [rule for rule in here if rule["allow"]]
    wrong = [
        f"{one.account}: {highest(one.account, allowed) or _('no right')}"
        for one in probe.rights
        if highest(one.account, allowed) is not one.right or any(is_account(one.account, rule) for rule in denied(here))
    ]
    if probe.exact:
        wrong += strangers(allowed, [one.account for one in probe.rights])
    return Verdict(not wrong, "; ".join(wrong) or _("rights as planned: {count}").format(count=len(probe.rights)))


def denied(rules: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rules that forbid."""
    return [rule for rule in rules if not rule["allow"]]


def strangers(rules: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[str]:
    """Return accounts with a right that no list names, as people are told."""
    others = [rule for rule in rules if not is_always_there(rule) and not any(is_account(one, rule) for one in known)]
    told = dict.fromkeys(rule["name"] or rule["sid"] for rule in others)
    return [_("{names} too").format(names=name) for name in told]


def ask_share(probe: Share) -> Asked:
    """The folder of a share and the list of its rights."""
    return Asked({"do": "share", "name": probe.name}, f"Get-SmbShareAccess {quote(probe.name)}")


def judge_share(probe: Share, reply: Reply) -> Verdict:
    """Judge a share's folder and its own rights."""
    if gone := nothing(reply, _("the share does not exist")):
        return gone
    facts: Mapping[str, Any] = json.loads(reply.out)
    if probe.path and facts["path"].lower() != probe.path.lower():
        return Verdict(False, _("{found} instead of {wanted}").format(found=facts["path"], wanted=probe.path))
    allowed = [rule for rule in facts["rules"] if rule["allow"]]
    wrong = []
    for one in probe.rights:
        found = [str(rule["right"]).lower() for rule in allowed if is_account(one.account, rule)]
        if found != [str(one.right)]:
            wrong.append(f"{one.account}: {', '.join(found) or _('no right')}")
    if probe.rights:
        wrong += strangers(allowed, [one.account for one in probe.rights])
    return Verdict(not wrong, "; ".join(wrong) or facts["path"])


def ask_policy(probe: Policy) -> Asked:
    """The policies that were applied to the computer."""
    return Asked({"do": "policy", "name": probe.name}, "gpresult /scope computer /r")


def judge_policy(probe: Policy, reply: Reply) -> Verdict:
    """Judge whether the policy is among them."""
    applied = reply.out.splitlines()
    text = ", ".join(applied) or _("no policy is applied")
    return nothing(reply, last_line(reply.err)) or Verdict(probe.name in applied, text)


def ask_scope(probe: DhcpScope) -> Asked:
    """The range, and whether the domain authorises the server."""
    shown = f"Get-DhcpServerv4Scope {probe.scope}; Get-DhcpServerSetting"
    return Asked({"do": "scope", "scope": str(probe.scope)}, shown)


def judge_scope(probe: DhcpScope, reply: Reply) -> Verdict:
    """Judge a range: active, with its bounds, on a server that a domain has authorised where it is a member of one."""
    if gone := nothing(reply, _("the server has no such range")):
        return gone
    facts: Mapping[str, Any] = json.loads(reply.out)
    if facts["state"] != "Active":
        return Verdict(False, _("the range is not active ({state})").format(state=facts["state"]))
    for wanted, found in ((probe.first, facts["first"]), (probe.last, facts["last"])):
        if wanted and str(wanted) != found:
            return Verdict(False, _("{found} instead of {wanted}").format(found=found, wanted=wanted))
    if facts["authorised"] is False:
        return Verdict(False, _("the server is not authorised in its domain"))
    return Verdict(True, f"{facts['first']} – {facts['last']}")


def ask_dcdiag(probe: Dcdiag) -> Asked:
    """The tests, one after the other."""
    argv = ["dcdiag.exe", *(f"/test:{name}" for name in probe.tests)]
    return Asked({"do": "run", "argv": [*argv], "timeout": DIAGNOSIS_TIMEOUT}, " ".join(argv))


def judge_dcdiag(_probe: Dcdiag, reply: Reply) -> Verdict:
    """Judge by the lines of dots that end each test."""
    said = [" ".join(line.split()) for line in VERDICT.findall(reply.out)]
    if not said:
        return Verdict(None, last_line(reply.err or reply.out))
    failed = [line for line in said if FAILED.search(line)]
    return Verdict(not failed, "; ".join(failed) or _("tests passed: {count}").format(count=len(said)))


def ask_events(probe: EventLog) -> Asked:
    """The newest events of a log that match."""
    task: Task = {
        "do": "events", "log": probe.log, "provider": probe.provider or "", "ids": [*probe.ids],
        "minutes": probe.minutes,
    }  # fmt: skip
    return Asked(task, f"Get-WinEvent -LogName {quote(probe.log)} -MaxEvents 100")


def judge_events(probe: EventLog, reply: Reply) -> Verdict:
    """Judge whether there is one, with the text where one is asked for."""
    if gone := nothing(reply, _("no such event")):
        return gone
    if probe.contains and probe.contains not in reply.out:
        return Verdict(False, _('no event holds "{text}"').format(text=probe.contains))
    return Verdict(True, last_line(reply.out.splitlines()[0]))


def ask_rule(probe: FirewallRule) -> Asked:
    """The rule as the firewall has it."""
    return Asked({"do": "rule", "name": probe.name}, f"Get-NetFirewallRule -DisplayName {quote(probe.name)}")


def judge_rule(probe: FirewallRule, reply: Reply) -> Verdict:
    """Judge a rule: switched on, which way, and what it does."""
    if gone := nothing(reply, _("there is no such rule")):
        return gone
    facts: Mapping[str, Any] = json.loads(reply.out)
    if facts["enabled"] is not True:
        return Verdict(False, _("the rule is switched off"))
    seen = f"{facts['direction']}, {facts['action']}"
    return Verdict((facts["direction"].lower(), facts["action"].lower()) == (probe.direction, probe.action), seen)


KINDS: tuple[Kind[Any], ...] = (
    Kind(Feature, ask_feature, judge_feature),
    Kind(Registry, ask_registry, judge_registry),
    Kind(Ntfs, ask_ntfs, judge_ntfs),
    Kind(Share, ask_share, judge_share),
    Kind(Policy, ask_policy, judge_policy),
    Kind(DhcpScope, ask_scope, judge_scope),
    Kind(Dcdiag, ask_dcdiag, judge_dcdiag),
    Kind(EventLog, ask_events, judge_events),
    Kind(FirewallRule, ask_rule, judge_rule),
)
