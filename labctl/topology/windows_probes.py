"""Probes of Windows machines alone: features, registry, rights, shares, policies, ranges, diagnosis, events, rules."""

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.directory_probes import Account
from labctl.topology.values import FEATURE_PATTERN, REGISTRY_PATTERN, SHARE_PATTERN, WINDOWS_PATH_PATTERN, Line, Model

WindowsPath = Annotated[str, StringConstraints(pattern=WINDOWS_PATH_PATTERN, max_length=240)]
Minutes = Annotated[int, Field(ge=1, le=10080)]


class Feature(Model):
    """A role or feature of Windows Server is installed."""

    type: Literal["windows_feature"] = Field(description=N_("a role or feature of Windows Server is installed"))
    name: Annotated[str, StringConstraints(pattern=FEATURE_PATTERN)] = Field(
        description=N_("its name in PowerShell, such as AD-Domain-Services")
    )


class Registry(Model):
    """A value of the registry is as expected."""

    type: Literal["registry"] = Field(description=N_("a value of the registry is as expected"))
    key: Annotated[str, StringConstraints(pattern=REGISTRY_PATTERN, max_length=400)] = Field(
        description=N_("the key, such as HKLM\\SYSTEM\\CurrentControlSet\\Services\\W32Time")
    )
    value: Line = Field(description=N_("the name of the value"))
    equals: Line | None = Field(default=None, description=N_("what it must be, as a text; it only exists if absent"))


class NtfsRight(StrEnum):
    """What an account may do in a folder, by the rights of the file system."""

    READ = "read"
    WRITE = "write"
    FULL = "full"


class NtfsEntry(Model):
    """One account and its right."""

    account: Account = Field(description=N_("the account or group, such as compta, SYSTEM or Administrators"))
    right: NtfsRight = Field(description=N_("the most that it may do there"))


class Ntfs(Model):
    """The rights of the file system on a folder or a file are those of a list."""

    type: Literal["ntfs"] = Field(description=N_("the NTFS rights on a folder or a file are those of the list"))
    path: WindowsPath = Field(description=N_("the folder or file, such as C:\\Partages\\compta"))
    owner: Account | None = Field(default=None, description=N_("the account that owns it"))
    rights: tuple[NtfsEntry, ...] = Field(min_length=1, max_length=32, description=N_("accounts and rights"))
    exact: bool = Field(
        default=True, description=N_("whether nobody else may have a right; SYSTEM and Administrators always may")
    )


class ShareLevel(StrEnum):
    """What an account may do on a share, by the rights of the share itself."""

    READ = "read"
    CHANGE = "change"
    FULL = "full"


class ShareEntry(Model):
    """One account and its right on a share."""

    account: Account = Field(description=N_("the account or group"))
    right: ShareLevel = Field(description=N_("what the share itself lets it do"))


class Share(Model):
    """A share of a Windows server exists, with the rights of a list."""

    type: Literal["share"] = Field(description=N_("a share of a Windows server exists, with the rights of the list"))
    name: Annotated[str, StringConstraints(pattern=SHARE_PATTERN)] = Field(description=N_("the share"))
    path: WindowsPath | None = Field(default=None, description=N_("the folder that it shares"))
    rights: tuple[ShareEntry, ...] = Field(
        default=(), max_length=32, description=N_("accounts and rights; nobody else may have one where some are given")
    )


class Policy(Model):
    """A group policy object is applied to this computer."""

    type: Literal["gpo"] = Field(description=N_("a group policy is applied to this computer, as gpresult says"))
    name: Line = Field(description=N_("the name of the policy"))


class DhcpScope(Model):
    """A range of a Windows DHCP server is active, and the server authorised."""

    type: Literal["dhcp_scope"] = Field(
        description=N_("a range of a Windows DHCP server is active, and the server authorised in its domain")
    )
    scope: IPv4Address = Field(description=N_("the address of the network, such as 172.16.20.0"))
    first: IPv4Address | None = Field(default=None, description=N_("first address of the range"))
    last: IPv4Address | None = Field(default=None, description=N_("last address of the range"))


class Dcdiag(Model):
    """Tests of dcdiag pass on a domain controller."""

    type: Literal["dcdiag"] = Field(description=N_("tests of dcdiag pass on this domain controller"))
    tests: tuple[Annotated[str, StringConstraints(pattern=FEATURE_PATTERN)], ...] = Field(
        default=("Connectivity", "Advertising", "Services", "SysVolCheck", "FsmoCheck"), min_length=1, max_length=20,
        description=N_("the tests, such as Advertising; those that need one controller alone if absent"),
    )  # fmt: skip


class EventLog(Model):
    """An event stands in a log of Windows."""

    type: Literal["event_log"] = Field(description=N_("an event stands in a log of Windows"))
    log: Line = Field(description=N_("the log, such as System or Security"))
    provider: Line | None = Field(default=None, description=N_("who wrote it"))
    ids: tuple[Annotated[int, Field(ge=0, le=65535)], ...] = Field(
        default=(), max_length=10, description=N_("numbers of events, such as 4740; every one if absent")
    )
    minutes: Minutes = Field(default=60, description=N_("how far back one looks, in minutes"))
    contains: Line | None = Field(default=None, description=N_("text that the event holds"))


class FirewallRule(Model):
    """A rule of the Windows firewall is in force."""

    type: Literal["firewall_rule"] = Field(description=N_("a rule of the Windows firewall is in force"))
    name: Line = Field(description=N_("its name, or what is shown for it"))
    action: Literal["allow", "block"] = Field(default="allow", description=N_("what it does"))
    direction: Literal["inbound", "outbound"] = Field(default="inbound", description=N_("which way"))
