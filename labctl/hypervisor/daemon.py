"""The host to the commands that start and restart libvirt's daemons on it."""

from pathlib import Path

SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


def start_command() -> str:
    """Return the command that starts libvirt's daemons."""
    if SYSTEMD.is_dir():
        return "sudo systemctl start virtlogd libvirtd"
    return "sudo sh -c 'virtlogd -d; libvirtd -d'"


def restart_command() -> str:
    """Return the command that replaces a daemon that hangs; guests live on."""
    if SYSTEMD.is_dir():
        return "sudo systemctl restart libvirtd"
    return "sudo sh -c 'kill -KILL $(cat /run/libvirtd.pid); libvirtd -d'"
