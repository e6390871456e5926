"""Probes of what is sent and must arrive: mail, alerts, lines of logs."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from labctl.language import N_
from labctl.topology.values import (
    FACILITY_PATTERN,
    PASSWORD_FILE,
    URL_PATTERN,
    FilePath,
    Line,
    Model,
    Name,
    Port,
)  # fmt: skip

Encryption = Literal["none", "starttls", "tls"]
ENCRYPTION = N_("how the connection is encrypted; the certificate must be valid for the name of the server")


class Smtp(Model):
    """A mail server greets, and takes a recipient; no message is sent."""

    type: Literal["smtp"] = Field(description=N_("a mail server greets, and takes a recipient; nothing is sent"))
    server: Line = Field(description=N_("address or name"))
    port: Port = Field(default=25, description=N_("TCP port"))
    tls: Encryption = Field(default="none", description=ENCRYPTION)
    sender: Line = Field(default="labctl@localhost", description=N_("who the message would be from"))
    recipient: Line | None = Field(
        default=None, description=N_("whom the server must take mail for; with `negative: true`, must not")
    )
    user: Line | None = Field(default=None, description=N_("account that logs in; nobody if absent"))
    password: Line | None = Field(default=None, description=N_("its password"))
    password_file: FilePath | None = Field(default=None, description=PASSWORD_FILE)


class Imap(Model):
    """A mailbox opens."""

    type: Literal["imap"] = Field(description=N_("a mail server greets, and lets an account read its mail"))
    server: Line = Field(description=N_("address or name"))
    port: Port = Field(default=143, description=N_("TCP port; 993 is usual with `tls: tls`"))
    tls: Encryption = Field(default="none", description=ENCRYPTION)
    user: Line | None = Field(default=None, description=N_("account that logs in; only the greeting if absent"))
    password: Line | None = Field(default=None, description=N_("its password"))
    password_file: FilePath | None = Field(default=None, description=PASSWORD_FILE)
    contains: Line | None = Field(default=None, description=N_("text that a message of the inbox holds"))


class Alert(Model):
    """An alert arrives within a delay."""

    type: Literal["alert"] = Field(description=N_("an alert arrives: a text in a file, a mailbox or a web page"))
    text: Line = Field(description=N_("the text of the alert"))
    path: FilePath | None = Field(
        default=None, description=N_("a file or a folder of files, such as a mailbox of this node")
    )
    url: Annotated[str, StringConstraints(pattern=URL_PATTERN, max_length=500)] | None = Field(
        default=None, description=N_("a page instead, such as the interface of Alertmanager")
    )
    trigger: tuple[Line, ...] = Field(
        default=(),
        description=N_("program and arguments that raise the alert first; then only what arrives after it counts"),
    )
    within: int = Field(default=30, ge=1, le=100, description=N_("seconds in which it must arrive"))


class Log(Model):
    """A line written with logger on this node arrives in a file of another node."""

    type: Literal["log"] = Field(description=N_("a line written with logger on this node arrives on another node"))
    at: Name = Field(description=N_("the node where it must arrive"))
    path: FilePath = Field(description=N_("the file there, or a folder of files"))
    priority: Annotated[str, StringConstraints(pattern=FACILITY_PATTERN)] = Field(
        default="user.notice", description=N_("facility and level of the line")
    )
    within: int = Field(default=15, ge=1, le=100, description=N_("seconds in which it must arrive"))
