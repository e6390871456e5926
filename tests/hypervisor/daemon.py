"""A libvirtd of the tests' own, that may be stopped and killed while a class runs on the system's."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import libvirt

from labctl.hypervisor.pool import start_event_loop


class PrivateDaemon:
    """A session libvirtd with its own folders; as root it runs as the user "nobody".

    Its guests live on when it is killed, as with the system's, and end with `close`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        configuration = folder / "config" / "libvirt"
        configuration.mkdir(parents=True)
        (configuration / "qemu.conf").write_text('stdio_handler = "file"\n')  # else it starts a virtlogd that stays
        for name in ("runtime", "cache", "state"):
            (folder / name).mkdir()
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "nobody:nogroup", folder], check=True)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///session?socket={self.folder}/runtime/libvirt/libvirt-sock"

    def start(self) -> None:
        drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(self.folder)}
        for variable, name in (("RUNTIME_DIR", "runtime"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache")):
            environment[f"XDG_{variable}"] = str(self.folder / name)
        self.process = subprocess.Popen(
            [*drop, "libvirtd"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder
        )
        self.connect().close()

    def connect(self) -> libvirt.virConnect:
        """Return a connection as somebody beside labctl would open it."""
        start_event_loop()
        end = time.monotonic() + 60
        while True:
            try:
                return libvirt.open(self.uri)
            except libvirt.libvirtError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the daemon, and see a killed one off."""
        assert self.process is not None
        self.process.send_signal(number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            self.process.wait(timeout=30)

    def pid_of(self, domain: str) -> int:
        """Return the process of a running guest."""
        return int((self.folder / "runtime" / "libvirt" / "qemu" / "run" / f"{domain}.pid").read_text())

    def close(self) -> None:
        if self.process is None or self.process.poll() is not None:
            self.start()
        else:
            self.send(signal.SIGCONT)
        connection = self.connect()
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            domain.destroy()
        connection.close()
        self.send(signal.SIGTERM)
        shutil.rmtree(self.folder)


@contextmanager
def running_daemon() -> Iterator[PrivateDaemon]:
    """Give a daemon that runs in the block."""
    folder = Path(tempfile.mkdtemp(prefix="lctest-", dir="/var/tmp"))  # pytest's own folder is closed to other users
    folder.chmod(0o755)
    private = PrivateDaemon(folder)
    try:
        private.start()
        yield private
    finally:
        private.close()
