"""What the user of the web process can do on this host: ask the worker, and nothing else."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.worker.certificate import ensure_certificate, lend_to
from labctl.worker.directory import Directory, write_directory
from labctl.worker.office import Office
from labctl.worker.serve import Server
from tests.lab.doubles import World, make_place
from tests.worker.offices import enrol, make_labs, pace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

CONNECT = """
import socket, sys
found = socket.socket(socket.AF_UNIX)
found.settimeout(10)
found.connect(sys.argv[1])
print(found.recv(100).decode())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that others may walk through, as the real one; pytest's own folders are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="lctest-", dir="/var/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def as_user(name: str, *argv: str) -> subprocess.CompletedProcess[str]:
    row = pwd.getpwnam(name)
    return subprocess.run(
        argv, user=row.pw_uid, group=row.pw_gid, extra_groups=[], cwd="/", env={"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_secrets_are_closed_to_the_web_process(home: Path) -> None:
    place = make_place(home, World())
    make_labs(place, "alice")
    office = Office(place, pace)
    enrol(office)
    write_directory(home, Directory("ldaps://dc.school.example", "{id}@school.example"))
    nobody = pwd.getpwnam("nobody")
    made = ensure_certificate(home, ("localhost",))
    lent = lend_to(made, home, nobody.pw_uid, nobody.pw_gid)
    secrets = [home / "portal.sqlite3", home / "portal" / "directory.json", made.key]
    office.records.add_message("x", ["y"], "z")
    secrets += home.glob("portal.sqlite3-*")
    assert all(path.exists() for path in secrets)
    readable = [path.name for path in secrets if as_user("nobody", "/bin/cat", str(path)).returncode == 0]
    assert readable == []
    assert as_user("nobody", "/bin/cat", str(lent.key)).returncode == 0, "but its own key"
    assert as_user("daemon", "/bin/cat", str(lent.key)).returncode != 0


def test_libvirt_is_closed_to_the_web_process() -> None:  # SEC-02
    """Where polkit decides, anybody may connect to the socket: it is the answer that must be no."""
    ask = ["virsh", "--quiet", "--connect", "qemu:///system", "list"]
    if subprocess.run(ask, capture_output=True, timeout=60, check=False).returncode != 0:
        pytest.skip("no libvirtd of the system runs here")
    assert as_user("nobody", *ask).returncode != 0


def test_the_worker_knows_its_callers_by_the_kernels_word(home: Path) -> None:
    office = Office(make_place(home, World()), pace)
    server = Server(office, home / "portal" / "worker.sock", {0, pwd.getpwnam("nobody").pw_uid})
    threading.Thread(target=server.serve, daemon=True).start()
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    try:
        assert '{"labctl": 1}' in as_user("nobody", python, "-c", CONNECT, str(server.path)).stdout
        refused = as_user("daemon", python, "-c", CONNECT, str(server.path))
        assert refused.stdout.strip() == "", "another user gets no answer at all"
    finally:
        server.stop()
