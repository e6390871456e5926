"""The system's libvirt killed and started again, as a crash and ./bootstrap do."""

import os
import signal
import subprocess
import time
from pathlib import Path

PID_FILE = Path("/run/libvirtd.pid")
BACK_WITHIN = 60  # seconds


def wait_for_daemon() -> None:
    """Wait until libvirt answers."""
    until = time.monotonic() + BACK_WITHIN
    while subprocess.run(["virsh", "-c", "qemu:///system", "uri"], capture_output=True, check=False).returncode:
        assert time.monotonic() < until, "libvirt did not come back"
        time.sleep(0.5)


def kill_daemon(pid: int) -> None:
    """Kill libvirt; its machines live on."""
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}/exe").exists():
        time.sleep(0.02)


def start_daemon() -> None:
    """Start libvirt again, and wait until it answers."""
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "libvirtd"], check=True)
    else:
        with Path("/dev/null").open("r+b") as null:
            subprocess.run(["libvirtd", "--daemon"], stdin=null, stdout=null, stderr=null, check=True)
    wait_for_daemon()
