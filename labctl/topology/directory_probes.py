"""Probes of a directory and of what it governs: entries, tickets, shares, accounts and groups."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import ACCOUNT_PATTERN, PASSWORD_FILE, SHARE_PATTERN, FilePath, Line, Model, Port

Account = Annotated[str, StringConstraints(pattern=ACCOUNT_PATTERN)]


class Ldap(Model):
    """A directory lets an account in and gives entries."""

    type: Literal["ldap"] = Field(description=N_("a directory lets an account in and gives entries"))
    server: Line = Field(description=N_("address or name"))
    port: Port | None = Field(default=None, description=N_("TCP port; that of `tls` if absent"))
    tls: Literal["none", "starttls", "tls"] = Field(
        default="none", description=N_("how the connection is encrypted; the certificate must be valid")
    )
    base: Line = Field(description=N_("where the search begins"))
    filter: Line = Field(default="(objectClass=*)", description=N_("which entries are looked for"))
    user: Line | None = Field(default=None, description=N_("who asks, a DN or user@realm; nobody if absent"))
    password: Line | None = Field(default=None, description=N_("password of the account; no command line shows it"))
    password_file: FilePath | None = Field(default=None, description=PASSWORD_FILE)
    contains: Line | None = Field(default=None, description=N_("a line of the answer in LDIF, or a part of one"))
    entries: int | None = Field(
        default=None, ge=1, le=10_000, description=N_("how many entries there must be; one or more if absent")
    )


class Kerberos(Model):
    """A principal gets a ticket, or an account holds one."""

    type: Literal["kerberos"] = Field(description=N_("a principal gets a ticket, or an account of the node holds one"))
    principal: Line | None = Field(default=None, description=N_("who asks for a ticket, such as alice@LAB.EXAMPLE"))
    password: Line | None = Field(default=None, description=N_("its password; no command line shows it"))
    password_file: FilePath | None = Field(default=None, description=PASSWORD_FILE)
    keytab: FilePath | None = Field(default=None, description=N_("a file of keys of the node, instead of a password"))
    holder: Account | None = Field(default=None, description=N_("instead: the account whose ticket must exist"))


class Right(StrEnum):
    """What an account may do on a share; `refused` is who does not even enter the server."""

    REFUSED = "refused"
    NONE = "none"
    READ = "read"
    WRITE = "write"


class ShareRight(Model):
    """One field of a rights matrix."""

    user: Line = Field(description=N_("the account, such as alice or LAB\\alice"))
    password: Line | None = Field(default=None, description=N_("its password; no command line shows it"))
    password_file: FilePath | None = Field(default=None, description=PASSWORD_FILE)
    share: Annotated[str, StringConstraints(pattern=SHARE_PATTERN)] = Field(description=N_("the share"))
    folder: Line | None = Field(default=None, description=N_("a folder of the share; its top if absent"))
    right: Right = Field(
        description=N_("exactly what the account may do there; `refused`: the server does not take its login")
    )


class Smb(Model):
    """The rights on shares are exactly those of a matrix."""

    type: Literal["smb"] = Field(description=N_("the rights on shares are exactly those of the matrix"))
    server: Line = Field(description=N_("address or name"))
    rights: tuple[ShareRight, ...] = Field(min_length=1, max_length=64, description=N_("users, shares and rights"))


class User(Model):
    """An account exists on the node, its own or of a directory."""

    type: Literal["user"] = Field(description=N_("an account exists on the node, its own or of a directory"))
    name: Account = Field(description=N_("the account"))
    groups: tuple[Account, ...] = Field(default=(), description=N_("groups that it is in"))
    not_in: tuple[Account, ...] = Field(default=(), description=N_("groups that it is not in"))
    shell: FilePath | None = Field(default=None, description=N_("its shell"))
    home: FilePath | None = Field(default=None, description=N_("its home folder"))


class Group(Model):
    """A group exists on the node, its own or of a directory, with the expected members."""

    type: Literal["group"] = Field(description=N_("a group exists on the node, its own or of a directory"))
    name: Account = Field(description=N_("the group"))
    members: tuple[Account, ...] = Field(default=(), description=N_("accounts that are in it"))
    exact: bool = Field(default=False, description=N_("whether nobody else may be in it"))
