"""Runs one image in plain QEMU, with an identity written by hand, and asks it questions by SSH."""

import base64
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labctl.plan.names import MANAGEMENT_PORT
from labctl.program import Output, run

MAC = "52:54:00:0a:0b:0c"
DEADLINE = 600  # seconds from power-on to SSH, on a busy host without KVM


@dataclass(frozen=True)
class Machine:
    """A running guest: its folder (keys, known hosts, serial log), SSH port and QEMU process."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, command: str, *, check: bool = True) -> Output:
        """Run a command in the guest as root."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={self.folder / 'known_hosts'}"]
        words = ["ssh", "-i", self.folder / "key", "-p", self.port, *(f"-o{option}" for option in options)]
        return run([*(str(word) for word in words), "root@127.0.0.1", command], timeout=120, check=check)

    def wait(self) -> None:
        """Wait until the guest answers an SSH command."""
        end = time.monotonic() + DEADLINE
        while self.ask("true", check=False).returncode != 0:
            assert self.process.poll() is None, "QEMU has ended"
            assert time.monotonic() < end, (self.folder / "serial.log").read_text(errors="replace")[-2000:]
            time.sleep(0.5)

    def power_off(self, seconds: float) -> None:
        """Press the power button and wait until the guest is off."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.folder / "monitor"))
            monitor.sendall(b"system_powerdown\n")
            self.process.wait(seconds)


@contextmanager
def start_machine(disk: Path, folder: Path) -> Iterator[Machine]:
    """Start a guest on a disk and stop it at the end."""
    port = write_identity(folder)
    argv = [
        "qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "512", "-nodefaults",
        "-vga", "std", "-display", "none", "-serial", f"file:{folder / 'serial.log'}",
        "-monitor", f"unix:{folder / 'monitor'},server=on,wait=off",
        "-drive", f"file={disk},if=none,id=disk", "-device", "virtio-blk-pci,drive=disk",
        "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:{MANAGEMENT_PORT}",
        "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile=",
        "-fw_cfg", f"name=opt/io.systemd.credentials/labctl.identity,file={folder / 'identity'}",
    ]  # fmt: skip
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        yield Machine(folder, port, process)
    finally:
        process.kill()
        process.wait()


def write_identity(folder: Path) -> int:
    """Write keys, known hosts and the credential; return a free port for SSH."""
    for name in ("key", "host", "management"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    public = (folder / "host.pub").read_text()
    pinned = (folder / "management.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {pinned}")
    files = {
        "/etc/hostname 0644": "web\n",
        "/etc/hosts 0644": "127.0.0.1 localhost\n127.0.1.1 web.lan.example web\n",
        "/etc/systemd/network/10-mgmt.link 0644": f"[Match]\nMACAddress={MAC}\n[Link]\nName=mgmt\n",
        "/etc/systemd/network/10-mgmt.network 0644": "[Match]\nName=mgmt\n[Network]\nDHCP=ipv4\n",
        "/etc/ssh/ssh_host_ed25519_key 0600": (folder / "host").read_text(),
        "/etc/ssh/ssh_host_ed25519_key.pub 0644": public,
        "/etc/labctl/ssh_host_ed25519_key 0600": (folder / "management").read_text(),
        "/etc/labctl/authorized_keys 0600": (folder / "key.pub").read_text(),
    }
    lines = ["d /etc/labctl 0700 root root - -"]
    lines += [f"f~ {file} root root - {base64.b64encode(text.encode()).decode()}" for file, text in files.items()]
    (folder / "identity").write_text("\n".join(lines) + "\n")
    return port
