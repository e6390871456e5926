"""Asks and judges probes of one machine itself: command, file, service, package, backup."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from labctl.checks.kind import Asked, Kind, program
from labctl.checks.lines import last_line
from labctl.checks.model import Reply, Task, Verdict
from labctl.checks.versions import is_older
from labctl.language import N_, _
from labctl.topology.system_probes import Backup, BackupTool, Command, File, Package, ServiceUnit

RESTORE_TIMEOUT = 90  # seconds; a repository may be on another node
HOUR = 3600  # seconds
STARTS_AT_BOOT = {"enabled", "enabled-runtime", "static", "alias", "generated"}


def ask_command(probe: Command) -> Asked:
    """The program itself."""
    return program(*probe.run, timeout=probe.seconds)


def judge_command(probe: Command, reply: Reply) -> Verdict:
    """Judge a command by its exit code and output."""
    if reply.code != probe.code:
        return Verdict(False, _("exit code {found} instead of {wanted}").format(found=reply.code, wanted=probe.code))
    if probe.contains and probe.contains not in reply.out + reply.err:
        return Verdict(False, _('the output does not hold "{text}"').format(text=probe.contains))
    return Verdict(True, _("exit code {found}").format(found=reply.code))


def ask_file(probe: File) -> Asked:
    """The facts of a file and its beginning."""
    return Asked({"do": "file", "path": probe.path}, f"stat {shlex.quote(probe.path)}")


def judge_file(probe: File, reply: Reply) -> Verdict:
    """Judge a file's existence, owner, mode and content."""
    if reply.code != 0:
        return Verdict(False, _("the file does not exist"))
    facts: Mapping[str, Any] = json.loads(reply.out)
    if probe.owner and facts["owner"] != probe.owner:
        return Verdict(False, _("owned by {found}").format(found=facts["owner"]))
    if probe.mode and int(facts["mode"], 8) != int(probe.mode, 8):
        return Verdict(False, _("mode {found}").format(found=facts["mode"]))
    if probe.contains and probe.contains not in facts["content"]:
        return Verdict(False, _('the file does not hold "{text}"').format(text=probe.contains))
    return Verdict(True, _("owned by {owner}, mode {mode}").format(owner=facts["owner"], mode=facts["mode"]))


def ask_service(probe: ServiceUnit) -> Asked:
    """What systemd says of the unit."""
    return program("systemctl", "show", "--property=LoadState,ActiveState,SubState,UnitFileState", probe.unit)


def judge_service(probe: ServiceUnit, reply: Reply) -> Verdict:
    """Judge a systemd unit: running now, and started at boot unless the check says otherwise."""
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    facts = dict(line.split("=", 1) for line in reply.out.splitlines() if "=" in line)
    if facts.get("LoadState") == "not-found":
        return Verdict(False, _("the service does not exist"))
    if facts.get("ActiveState") != "active":
        return Verdict(False, _("not running ({state})").format(state=facts.get("ActiveState", "?")))
    enabled = facts.get("UnitFileState", "")
    if probe.enabled and enabled not in STARTS_AT_BOOT:
        return Verdict(False, _("running, but not started at boot ({state})").format(state=enabled or "?"))
    return Verdict(True, _("running, {state}").format(state=enabled or "?"))


def ask_package(probe: Package) -> Asked:
    """What dpkg says of the package."""
    form = "${db:Status-Status} ${Version}\\n"
    return program("dpkg-query", "--show", f"--showformat={form}", probe.name, command=f"dpkg -l {probe.name}")


def judge_package(probe: Package, reply: Reply) -> Verdict:
    """dpkg-query(1): 1 where no package of the name is known; one that was removed is known still."""
    if reply.code == 1:
        return Verdict(False, _("not installed"))
    if reply.code != 0:
        return Verdict(None, last_line(reply.err))
    state, _space, version = last_line(reply.out).partition(" ")
    if state != "installed":
        return Verdict(False, _("not installed ({state})").format(state=state))
    if probe.at_least and is_older(version, probe.at_least):
        return Verdict(False, _("version {found}, older than {wanted}").format(found=version, wanted=probe.at_least))
    return Verdict(True, _("version {found}").format(found=version))


def ask_backup(probe: Backup) -> Asked:
    """A restore into a hash, and the hash of the source."""
    source: Task = {"do": "digest", "path": probe.source or probe.file}
    task: Task = {
        "do": "backup", "tool": str(probe.tool), "repository": probe.repository or "", "file": probe.file,
        "password_file": probe.password_file or "", "timeout": RESTORE_TIMEOUT,
    }  # fmt: skip
    return Asked(task, restore_command(probe), {probe.at or "": source})


def restore_command(probe: Backup) -> str:
    """Return what a person would type to restore the file into a hash."""
    repository, file = shlex.quote(probe.repository or ""), shlex.quote(probe.file)
    match probe.tool:
        case BackupTool.BORG:
            archive = f'{repository}::"$(borg list --last 1 --short {repository})"'
            return f"borg extract --stdout {archive} {shlex.quote(probe.file.lstrip('/'))} | sha256sum"
        case BackupTool.RESTIC:
            return f"restic -r {repository} dump latest {file} | sha256sum"
        case BackupTool.PLAIN:
            return f"sha256sum {file}"


# What the agent says where a repository opens, and what it has is not enough.
NO_BACKUP: Mapping[str, str] = {
    "no archive": N_("the repository holds no backup"),
    "no snapshot": N_("the repository holds no backup"),
    "the newest backup does not hold the file": N_("the newest backup does not hold the file"),
}


def judge_backup(probe: Backup, reply: Reply) -> Verdict:
    """Judge the hashes, then age and duration (RPO and RTO); a repository that does not open restores nothing."""
    if reply.code != 0:
        said = last_line(reply.err)
        return Verdict(False, _(NO_BACKUP[said]) if said in NO_BACKUP else said)
    facts: dict[str, Any] = json.loads(reply.out)
    source = reply.then.get(probe.at or "", Reply(error="timeout"))
    if source.error or source.code != 0:
        text = _("the source cannot be read: {error}")
        return Verdict(None, text.format(error=last_line(source.error or source.err)))
    hours = float(facts["age"]) / HOUR
    if facts["hash"] != source.out.strip():
        return Verdict(False, _("what is restored differs from the source"))
    if probe.hours is not None and hours > probe.hours:
        return Verdict(False, _("age of the newest backup: {hours:.0f} h").format(hours=hours))
    if probe.seconds is not None and reply.seconds > probe.seconds:
        text = _("the restore took {seconds:.0f} s, more than {limit} s")
        return Verdict(False, text.format(seconds=reply.seconds, limit=probe.seconds))
    text = _("same hash; age of the backup: {hours:.1f} h; restored in {seconds:.0f} s")
    return Verdict(True, text.format(hours=hours, seconds=reply.seconds))


KINDS: tuple[Kind[Any], ...] = (
    Kind(Command, ask_command, judge_command),
    Kind(File, ask_file, judge_file),
    Kind(ServiceUnit, ask_service, judge_service),
    Kind(Package, ask_package, judge_package),
    Kind(Backup, ask_backup, judge_backup),
)
