"""The units for systemd: systemd itself reads them, what they name is there, and a socket that it opens is served."""

import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from labctl.lab.site import DEFAULT_HOME
from labctl.portal.server import given_socket
from labctl.worker.certificate import Certificate, ensure_certificate
from labctl.worker.main import allowed_users, socket_path, suspend_after
from tests.lab.doubles import World, make_place
from tests.worker.offices import Desk, make_labs, open_desk

TREE = Path(__file__).parents[2]
UNITS = TREE / "labctl" / "worker" / "systemd"
WORKER, WEB, PORT = (UNITS / f"labctl-{name}" for name in ("worker.service", "portal.service", "portal.socket"))
INSTALLED = "/opt/labctl/bin/"  # where the units expect labctl; the guide says how to put it there
BIN = f"{Path(sys.executable).parent}/"
EXPOSURE = {WORKER: 78, WEB: 14}  # tenths of systemd's own measure, 0 for nothing to 100; the worker is root
# systemd's own way to start a program: a socket as descriptor 3, and whom it is for.
LAUNCHER = """
import os, socket, sys
given = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
if given.fileno() == 3:
    os.set_inheritable(3, True)
else:
    os.dup2(given.fileno(), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="labctl-portal.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


def settings(unit: Path) -> list[tuple[str, str]]:
    """Return the settings of a unit, in order."""
    lines = [line for line in unit.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#["]
    return [(key, value) for key, _equals, value in (line.partition("=") for line in lines)]


def setting(unit: Path, name: str) -> str:
    (found,) = (value for key, value in settings(unit) if key == name)
    return found


def environment_of(unit: Path) -> dict[str, str]:
    words = [word for key, value in settings(unit) if key == "Environment" for word in value.split()]
    return dict(word.split("=", 1) for word in words)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The units for the labctl that is tested."""
    for unit in (WORKER, WEB, PORT):
        text = unit.read_text(encoding="utf-8").replace(INSTALLED, BIN)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


def test_systemd_reads_the_units_without_a_word(here: Path) -> None:
    done = analyze("verify", "--man=no", *(str(here / unit.name) for unit in (WORKER, WEB, PORT)))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "labctl" in line]
    assert (ours, done.returncode) == ([], 0), done.stderr


@pytest.mark.parametrize("unit", EXPOSURE, ids=lambda unit: unit.name)
def test_the_units_give_away_no_more_than_is_needed(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE[unit]}", str(unit))
    assert done.returncode == 0, done.stdout[-200:]


def test_what_the_units_run_is_there() -> None:
    for unit, words in (
        (WORKER, ["labctl", "portal", "worker"]),
        (WEB, ["python", "-P", "-m", "labctl.portal.server"]),
    ):
        assert setting(unit, "ExecStart") == INSTALLED + " ".join(words)
        assert (Path(BIN) / words[0]).exists()
    done = subprocess.run(
        [f"{BIN}labctl", "portal", "worker", "--help"], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(TREE)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_both_halves_mean_the_same_socket_and_the_same_user() -> None:
    worker, web = environment_of(WORKER), environment_of(WEB)
    assert worker["LABCTL_PORTAL_WORKER"] == web["LABCTL_PORTAL_WORKER"]
    assert socket_path(worker).parent == Path("/run") / setting(WORKER, "RuntimeDirectory")
    assert worker["LABCTL_PORTAL_WEB_USER"] == setting(WEB, "User")
    assert allowed_users({"LABCTL_PORTAL_WEB_USER": "0"}) >= {0}
    assert int(setting(WORKER, "RuntimeDirectoryMode"), 8) & 0o001, "the web process walks through it"
    assert str(DEFAULT_HOME) in setting(WEB, "InaccessiblePaths")
    assert setting(PORT, "ListenStream") == "443"


def test_each_variable_of_the_units_is_one_that_labctl_reads() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (TREE / "labctl").rglob("*.py"))
    named = {name for unit in (WORKER, WEB) for name in re.findall(r"LABCTL_\w+", unit.read_text(encoding="utf-8"))}
    assert len(named) >= 8
    assert {name for name in named if f'"{name}"' not in source} == set()
    assert suspend_after({"LABCTL_PORTAL_SUSPEND_AFTER": "120"})


def test_the_worker_can_make_what_machines_and_images_are_made_of() -> None:
    mask = int(setting(WORKER, "UMask"), 8)
    assert 0o711 & ~mask == 0o711, "QEMU's user walks through the folders of labs"
    assert 0o644 & ~mask == 0o644, "and reads disks"
    forbidden = {"RestrictSUIDSGID", "PrivateDevices", "PrivateNetwork", "PrivateTmp", "CapabilityBoundingSet"}
    assert {key for key, _value in settings(WORKER)} & forbidden == set(), (
        "images hold setuid programs; /dev/kvm is asked"
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home, world = tmp_path_factory.mktemp("home"), World()
    make_labs(make_place(home, world), "alice")
    with open_desk(home, world) as found:
        yield found


@contextmanager
def activated(launcher: str, desk: Desk, certificate: Certificate) -> Iterator[int]:
    """Serve what the unit of the web process runs, on a socket that somebody else has opened."""
    port = free_port()
    own = {
        "LABCTL_PORTAL_WORKER": str(desk.client.path), "LABCTL_PORTAL_CERT": str(certificate.chain),
        "LABCTL_PORTAL_KEY": str(certificate.key), "LABCTL_PORTAL_HSTS": "1", "PYTHONPATH": str(TREE),
    }  # fmt: skip
    program = [sys.executable, *setting(WEB, "ExecStart").split()[1:]]
    if launcher == "systemd":
        keep = [word for name, value in own.items() for word in ("-E", f"{name}={value}")]
        command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *keep, *program]
    else:
        command = [sys.executable, "-c", LAUNCHER, str(port), *program]
    with subprocess.Popen(command, env={"PATH": os.environ["PATH"], **own}, stdin=subprocess.DEVNULL) as process:
        try:
            yield port
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("launcher", ["systemd", "ours"])
def test_a_socket_that_systemd_has_opened_is_served(desk: Desk, tmp_path: Path, launcher: str) -> None:
    certificate = ensure_certificate(tmp_path, ("localhost",))
    context = ssl.create_default_context(cafile=str(certificate.chain))
    with activated(launcher, desk, certificate) as port:
        until = time.monotonic() + 60
        while True:
            try:
                answer = httpx2.get(f"https://localhost:{port}/login", verify=context, timeout=30)
                break
            except httpx2.HTTPError:
                assert time.monotonic() < until
                time.sleep(0.2)
        assert answer.status_code == 200
        assert "Strict-Transport-Security" in answer.headers
        health = httpx2.get(f"https://localhost:{port}/health", verify=context, timeout=30)
        assert health.json()["worker"] is True


def test_descriptors_for_somebody_else_are_not_taken() -> None:
    with pytest.raises(SystemExit):
        given_socket({"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid() + 1)})
    with pytest.raises(SystemExit):
        given_socket({})
