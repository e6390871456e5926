"""Probes of one machine itself: commands, files, services, packages, backups."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import (
    ANY_PATH_PATTERN,
    MODE_PATTERN,
    PACKAGE_PATTERN,
    UNIT_PATTERN,
    FilePath,
    Line,
    Model,
    Name,
)


class Command(Model):
    """A command ends with the expected code and output. It runs without a shell."""

    type: Literal["command"] = Field(description=N_("a command ends as expected; it runs without a shell"))
    run: tuple[Line, ...] = Field(min_length=1, description=N_("program and arguments, one item each"))
    code: int = Field(default=0, ge=0, le=255, description=N_("expected exit code"))
    contains: Line | None = Field(default=None, description=N_("text that the output holds"))
    seconds: int = Field(default=60, ge=1, le=120, description=N_("longest time that it may take, in seconds"))


class File(Model):
    """A file exists with the expected owner, mode or content."""

    type: Literal["file"] = Field(description=N_("a file exists as expected"))
    path: Annotated[str, StringConstraints(pattern=ANY_PATH_PATTERN, max_length=500)] = Field(
        description=N_("the file")
    )
    owner: Line | None = Field(default=None, description=N_("the account that owns it"))
    mode: Annotated[str, StringConstraints(pattern=MODE_PATTERN)] | None = Field(
        default=None, description=N_('permissions in octal, quoted: "0640"')
    )
    contains: Line | None = Field(default=None, description=N_("text that the file holds"))


class ServiceUnit(Model):
    """A service of systemd or of Windows runs now and starts at boot."""

    type: Literal["service"] = Field(description=N_("a service of systemd or of Windows runs now"))
    unit: Annotated[str, StringConstraints(pattern=UNIT_PATTERN, max_length=100)] = Field(
        description=N_("the systemd unit, such as nginx.service, or the name in Windows, such as DHCPServer")
    )
    enabled: bool = Field(default=True, description=N_("whether it must also start at boot"))


class Package(Model):
    """A Debian package is installed."""

    type: Literal["package"] = Field(description=N_("a Debian package is installed"))
    name: Annotated[str, StringConstraints(pattern=PACKAGE_PATTERN)] = Field(description=N_("the package"))
    at_least: Line | None = Field(default=None, description=N_("lowest version, quoted"))


class BackupTool(StrEnum):
    """What keeps the backup."""

    BORG = "borg"
    RESTIC = "restic"
    PLAIN = "plain"


class Backup(Model):
    """A file restored from the newest backup is the same as its source."""

    type: Literal["backup"] = Field(description=N_("a file restored from the newest backup is the same as its source"))
    tool: BackupTool = Field(description=N_("what keeps the backup; `plain` is a copy that can be read as it is"))
    repository: Line | None = Field(
        default=None, description=N_("the repository of borg or restic, as this node names it")
    )
    file: FilePath = Field(description=N_("the file in the backup; for `plain`, the path of the copy on this node"))
    source: FilePath | None = Field(default=None, description=N_("the file that was saved; the same path if absent"))
    at: Name | None = Field(default=None, description=N_("the node that has the source; this node if absent"))
    password_file: FilePath | None = Field(default=None, description=N_("file of this node with the passphrase"))
    hours: int | None = Field(default=None, ge=1, le=8760, description=N_("largest age of the newest backup"))
    seconds: int | None = Field(
        default=None, ge=1, le=3600, description=N_("longest time that the restore may take, in seconds")
    )
