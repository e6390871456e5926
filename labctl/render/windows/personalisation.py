"""Renders what a Windows is told through its guest agent: its own keys, password, time and leases."""

import base64
import json
from importlib.resources import files

from labctl.plan.model import PlannedNode
from labctl.render.identity import Keys

# Scripts come by stdin: nothing of them is in a list of processes, and nothing has to be quoted for two shells.
POWERSHELL = ("powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", "-")
FLUSH = b"Write-VolumeCache -DriveLetter C\r\n"


def render_windows_personalisation(
    node: PlannedNode, keys: Keys, password: str, now: float, *, first: bool = False
) -> bytes:
    """Return the PowerShell script that gives a machine what is its own. `now` is in seconds since the epoch.

    It is for a clone in memory; with `first` for a machine that has started, and does nothing at its later starts.
    Its values are data in it, in base64: whatever they hold, they are no commands.
    """
    values = {
        "first": first,
        "now": round(now * 1000),
        "host_key": keys.management,
        "authorized_keys": keys.authorized,
        "password": password,
        "leased": [interface.name for interface in node.interfaces if interface.address == "dhcp"],
    }
    data = base64.b64encode(json.dumps(values).encode()).decode()
    return one_block(f"$data = '{data}'\n" + read_text("personalise.ps1"))


def clock_script(now: float) -> bytes:
    """Return the script that sets the clock of a Windows that stood still. `now` is in seconds since the epoch."""
    moment = f"[DateTimeOffset]::FromUnixTimeMilliseconds({round(now * 1000)}).LocalDateTime"
    return one_block(f"Set-Date -Date {moment} | Out-Null")


def hygiene_script() -> bytes:
    """Return the script that tells whether a Windows can be frozen and cloned, as one JSON object."""
    return one_block(read_text("hygiene.ps1"))


def read_text(name: str) -> str:
    """Return a script of ours."""
    return files("labctl.render").joinpath("templates", "windows", name).read_text(encoding="utf-8")


def one_block(script: str) -> bytes:
    """Return a script for the standard input of PowerShell, where a block would end at its first empty line."""
    body = "\n".join(line for line in script.splitlines() if line.strip())
    return f"& {{\n{body}\n}}\n\n".replace("\n", "\r\n").encode("ascii")
