"""Asks and judges probes of a directory and of what it governs: ldap, kerberos, smb, user, group."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from labctl.checks.agent import SECRET_FILE
from labctl.checks.kind import HANDSHAKE_TIMEOUT, Asked, Kind, program
from labctl.checks.lines import first_line, last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.language import _
from labctl.topology.directory_probes import Group, Kerberos, Ldap, Right, ShareRight, Smb, User

# ldapsearch(1) ends with the result code of RFC 4511, or 255 where it did not reach a server.
LDAP_REFUSED = {8, 13, 32, 34, 48, 49, 50, 53}
LDAP_DEAD = {52, 255}
# It ends with 1 where TLS was asked for and did not begin, and where Active Directory wants a login first.
NO_TLS = "ldap_start_tls:"
LOGIN_WANTED = ("without authentication", "a successful bind must be completed")

SESSION_TIMEOUT = 60  # seconds for one account on one share; a ticket, a login and three commands

# What MIT Kerberos says; the first says nothing about the principal.
KDC_DEAD = ("Cannot contact any KDC", "Cannot find KDC", "Cannot resolve")
KERBEROS_REFUSED = (
    "Preauthentication failed", "Password incorrect", "not found in Kerberos database", "Clock skew", "revoked",
    "expired", "locked out", "Pre-authentication", "No key table entry", "Key table file",
)  # fmt: skip

DENIED = {"NT_STATUS_ACCESS_DENIED", "NT_STATUS_MEDIA_WRITE_PROTECTED"}
REFUSED_LOGIN = {
    "NT_STATUS_LOGON_FAILURE", "NT_STATUS_ACCOUNT_DISABLED", "NT_STATUS_ACCOUNT_LOCKED_OUT", "NT_STATUS_NO_SUCH_USER",
    "NT_STATUS_PASSWORD_EXPIRED", "NT_STATUS_PASSWORD_MUST_CHANGE",
}  # fmt: skip
NOT_THERE = REFUSED_LOGIN | {
    "NT_STATUS_BAD_NETWORK_NAME", "NT_STATUS_OBJECT_NAME_NOT_FOUND", "NT_STATUS_CONNECTION_REFUSED",
}  # fmt: skip


def ask_ldap(probe: Ldap) -> Asked:
    """A search by ldapsearch, the password in a file that only root reads and that goes at once."""
    scheme = "ldaps" if probe.tls == "tls" else "ldap"
    uri = f"{scheme}://{probe.server}" + (f":{probe.port}" if probe.port else "")
    words = ["ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-o", f"nettimeout={HANDSHAKE_TIMEOUT}", "-H", uri]
    words += ["-ZZ"] if probe.tls == "starttls" else []
    words += ["-b", probe.base]
    bind = ["-D", probe.user] if probe.user else []
    secret = secret_of(probe)
    shown = shlex.join([*words, *bind, *(["-W"] if secret else []), probe.filter])
    if not secret:
        return program(*words, *bind, probe.filter, command=shown)
    return program(*words, *bind, "-y", SECRET_FILE, probe.filter, command=shown, **secret)


def secret_of(probe: Ldap) -> dict[str, JsonValue]:
    """Return how the agent gets the password, nothing where there is none."""
    if probe.password_file:
        return {"password_file": probe.password_file}
    return {"secret": probe.password} if probe.password else {}


def judge_ldap(probe: Ldap, reply: Reply) -> Verdict:
    """Judge entries; a server out of reach has refused nobody."""
    if reply.code in LDAP_DEAD or NO_TLS in reply.err:
        return Verdict(False, first_line(reply.err), proof=False)
    if reply.code != 0:
        refused = reply.code in LDAP_REFUSED or any(text in reply.err for text in LOGIN_WANTED)
        return Verdict(False if refused else None, first_line(reply.err))
    entries = sum(line.startswith("dn:") for line in reply.out.splitlines())
    if not entries:
        return Verdict(False, _("no entry"))
    if probe.contains and probe.contains not in reply.out:
        return Verdict(False, _('no entry holds "{text}"').format(text=probe.contains))
    return Verdict(probe.entries in (None, entries), _("entries: {count}").format(count=entries))


def ask_kerberos(probe: Kerberos) -> Asked:
    """A ticket that is kept nowhere, or a look at the one that an account holds."""
    if probe.holder:
        return program("runuser", "-u", probe.holder, "--", "klist", "-s", command=f"su - {probe.holder} -c klist")
    words = ["kinit", "-c", "MEMORY:labctl"]
    principal = probe.principal or ""
    if probe.keytab:
        return program(*words, "-k", "-t", probe.keytab, principal)
    shown = shlex.join(["kinit", principal])
    if probe.password_file:
        return program(*words, principal, command=shown, password_file=probe.password_file)
    return program(*words, principal, command=shown, stdin=f"{probe.password or ''}\n")


def judge_kerberos(probe: Kerberos, reply: Reply) -> Verdict:
    """Judge by what kinit says: its exit code is 1 for everything."""
    if reply.code == 0:
        return Verdict(True, _("a ticket is there") if probe.holder else _("a ticket was given"))
    if probe.holder:
        known = reply.code == 1 and not reply.err.strip()  # klist -s is silent; runuser is not
        return Verdict(False if known else None, _("no ticket") if known else last_line(reply.err))
    said = last_line(reply.err)
    if any(text in reply.err for text in KDC_DEAD):
        return Verdict(False, said, proof=False)
    return Verdict(False if any(text in reply.err for text in KERBEROS_REFUSED) else None, said)


def ask_smb(probe: Smb) -> Asked:
    """Every field of the matrix, tried by listing and by writing an empty file that goes at once."""
    rows: list[JsonValue] = [
        {
            "user": one.user,
            "password": one.password,
            "password_file": one.password_file,
            "share": one.share,
            "folder": one.folder or "",
        }
        for one in probe.rights
    ]
    task: Task = {"do": "smb", "host": probe.server, "rows": rows, "timeout": SESSION_TIMEOUT}
    first = probe.rights[0]
    return Asked(task, shlex.join(["smbclient", f"//{probe.server}/{first.share}", "-U", first.user, "-c", "ls"]))


def judge_smb(probe: Smb, reply: Reply) -> Verdict:
    """Judge field by field: a right too many is as wrong as one too few; a login refused tells nothing of rights."""
    rows: list[dict[str, str]] = json.loads(reply.out)
    wrong: list[str] = []
    unknown: list[str] = []
    for right, row in zip(probe.rights, rows, strict=True):
        found = right_found(row, right.right)
        if found is None:
            state = row["list"] if row["list"] != "ok" else row["write"]
            unknown.append(f"{share_name(right)}: {last_line(state)}")
        elif found is not right.right:
            wrong.append(f"{share_name(right)}: {right_name(found)}")
    if wrong:
        return Verdict(False, "; ".join([*wrong, *unknown]))
    if unknown:
        return unanswered(rows, unknown)
    return Verdict(True, _("rights as planned: {count}").format(count=len(rows)))


def unanswered(rows: Sequence[dict[str, str]], said: Sequence[str]) -> Verdict:
    """Return what fields without an answer show: an account or a share that is missing is a fault of the work."""
    states = {row["list"] for row in rows} - {"ok"} - DENIED
    return Verdict(False if states and states <= NOT_THERE else None, "; ".join(said), proof=False)


def right_found(row: dict[str, str], wanted: Right) -> Right | None:
    """Return what an account may do, None where that was not shown.

    A refused login says nothing of rights, but all where it is the login that has to be refused.
    """
    if wanted is Right.REFUSED and row["list"] in REFUSED_LOGIN:
        return Right.REFUSED
    if row["write"] == "ok":
        return Right.WRITE
    if row["list"] == "ok":
        return Right.READ if row["write"] in DENIED else None
    return Right.NONE if row["list"] in DENIED and row["write"] in DENIED else None


def share_name(right: ShareRight) -> str:
    """Return a field of the matrix as people write it."""
    return f"{right.user} × {right.share}" + (f"/{right.folder}" if right.folder else "")


def right_name(right: Right) -> str:
    """Return a right for people."""
    return {
        Right.REFUSED: _("login refused"),
        Right.NONE: _("no access"),
        Right.READ: _("reads"),
        Right.WRITE: _("writes"),
    }[right]


def ask_user(probe: User) -> Asked:
    """The account as the node's own programs see it."""
    return Asked({"do": "account", "name": probe.name}, f"id {shlex.quote(probe.name)}")


def judge_user(probe: User, reply: Reply) -> Verdict:
    """Judge an account's existence, groups, shell and home."""
    if reply.code != 0:
        return Verdict(False, _("the account does not exist"))
    facts: dict[str, Any] = json.loads(reply.out)
    missing = [name for name in probe.groups if name not in facts["groups"]]
    if missing:
        return Verdict(False, _("not in {names}").format(names=", ".join(missing)))
    extra = [name for name in probe.not_in if name in facts["groups"]]
    if extra:
        return Verdict(False, _("in {names}").format(names=", ".join(extra)))
    for wanted, found in ((probe.shell, facts["shell"]), (probe.home, facts["home"])):
        if wanted and wanted != found:
            return Verdict(False, _("{found} instead of {wanted}").format(found=found, wanted=wanted))
    return Verdict(True, ", ".join(facts["groups"]))


def ask_group(probe: Group) -> Asked:
    """The group as the node's own programs see it."""
    members: list[JsonValue] = [*probe.members]
    return Asked({"do": "group", "name": probe.name, "members": members}, f"getent group {shlex.quote(probe.name)}")


def judge_group(probe: Group, reply: Reply) -> Verdict:
    """Judge a group's existence and members."""
    if reply.code != 0:
        return Verdict(False, _("the group does not exist"))
    found: list[str] = json.loads(reply.out)
    missing = [name for name in probe.members if name not in found]
    if missing:
        return Verdict(False, _("without {names}").format(names=", ".join(missing)))
    extra = [name for name in found if name not in probe.members]
    if probe.exact and extra:
        return Verdict(False, _("{names} too").format(names=", ".join(extra)))
    return Verdict(True, ", ".join(found) or _("no member"))


KINDS: tuple[Kind[Any], ...] = (
    Kind(Ldap, ask_ldap, judge_ldap),
    Kind(Kerberos, ask_kerberos, judge_kerberos),
    Kind(Smb, ask_smb, judge_smb),
    Kind(User, ask_user, judge_user),
    Kind(Group, ask_group, judge_group),
)
