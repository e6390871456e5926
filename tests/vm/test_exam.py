"""An exam on real guests with short minutes: one candidate with more time, one paused, one who leaves in the middle.

The supervisor is killed; the one who leaves works in a browser, and is frozen while a machine is made anew.
"""

import base64
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from labctl.exam.allowed import resolve
from labctl.images.mirror import find_sources
from labctl.shipped import shipped_folder
from tests.browser.conftest import Visits, open_chromium
from tests.homes import TEST_HOME
from tests.vm.conftest import PREFIX, Installation, virsh
from tests.vm.portals import begin_session, forget_people, open_portal

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.browser, pytest.mark.timeout(2400)]

NAME, WORDS = "e6-try", "cheval correct pile agrafe"
LIST = "number;name;time_factor\n101;Ada Lovelace;\n102;Bob;1.33\n103;Chloé;\n104;Dora;\n"
MINUTE = 5.0  # seconds: an hour of work lasts five minutes, which an emulated, loaded host needs for the verbs between
LABS = ("dmz-101", "dmz-102", "dmz-103", "dmz-104")
TOP = TEST_HOME / "exams" / NAME
ALLOWED = str(urlsplit(find_sources("trixie")[0].uri).hostname)  # nothing is allowed where it has no address
ADDRESSES = resolve(ALLOWED)
# What a machine reaches of the Internet: the answer of its network's resolver to two names, and two connections.
OUTSIDE = """
import json, socket, struct, subprocess, sys
gateway = json.loads(subprocess.check_output(["ip", "-j", "route", "show", "default"]))[0]["gateway"]
def ask(name):
    labels = b"".join(bytes([len(part)]) + part for part in name.encode().split(b".")) + bytes(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        try:
            one.connect((gateway, 53))
            one.send(struct.pack(">6H", 7, 256, 1, 0, 0, 0) + labels + struct.pack(">2H", 1, 1))
            return socket.inet_ntoa(one.recv(600)[-4:])
        except OSError:
            return ""
def knock(address, port):
    with socket.socket() as one:
        one.settimeout(5)
        return one.connect_ex((address, port)) == 0
address, name = sys.argv[1:]
print(json.dumps([ask(name), ask("another-name.example"), knock(address, 80), knock(gateway, 53)]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("exam")
    (folder / "candidates.csv").write_text(LIST, encoding="utf-8")
    (folder / "words").write_text(WORDS + "\n", encoding="utf-8")
    text = (shipped_folder("exams") / "e6-dmz.yml").read_text(encoding="utf-8")
    if ADDRESSES:
        text = text.replace("internet: []", f"internet: [{ALLOWED}]")
    (folder / "e6-dmz.yml").write_text(text, encoding="utf-8")
    names = {"roll": "candidates.csv", "words": "words", "exam": "e6-dmz.yml"}
    return {key: str(folder / name) for key, name in names.items()}


def inside(lab: str, node: str, *command: str) -> str:
    """Run a program on a machine by its agent, the only way while its links are pulled; return what it prints."""
    name = f"{PREFIX}{lab}.{node}"

    def ask(verb: str, **arguments: object) -> Any:
        return json.loads(virsh("qemu-agent-command", name, json.dumps({"execute": verb, "arguments": arguments})))

    begun = ask("guest-exec", path=command[0], arg=command[1:], **{"capture-output": True})["return"]["pid"]
    until = time.monotonic() + 120
    while time.monotonic() < until:
        found = ask("guest-exec-status", pid=begun)["return"]
        if found["exited"]:
            return base64.b64decode(found.get("out-data", "")).decode()
        time.sleep(1)
    raise AssertionError(command)


@pytest.fixture(scope="module")
def session(labctl: Installation, files: dict[str, str]) -> Iterator[Installation]:
    """Prepare, seal and open a session, and remove its labs at the end."""
    done = labctl.run(
        "exam", "prepare", files["exam"], "--candidates", files["roll"], "--session", NAME, "--rehearsal",
        "--minute", str(MINUTE), "--spares", "0",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert labctl.run("exam", "seal", NAME, "--passphrase-file", files["words"]).returncode == 0
    yield labctl
    stop_supervisor()
    for lab in LABS:
        labctl.run("down", lab)
    assert f"{PREFIX}dmz-10" not in virsh("list", "--all", "--name"), "machines were left behind"


def supervisor() -> int:
    """Return the process that keeps the deadlines, 0 where there is none."""
    try:
        return int(json.loads((TEST_HOME / "exams" / "supervisor.json").read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError):
        return 0


def stop_supervisor() -> None:
    pid = supervisor()
    command = Path(f"/proc/{pid}/cmdline")
    if pid and command.exists() and b"supervise" in command.read_bytes():
        os.kill(pid, signal.SIGTERM)


def status(labctl: Installation) -> dict[str, Any]:
    found = labctl.json("exam", "status", NAME)
    return {one["number"]: one for one in found["candidates"]}


def entries(number: str, act: str) -> list[dict[str, Any]]:
    lines = (TOP / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if (one["candidate"], one["act"]) == (number, act)]


def hour(text: str) -> datetime:
    return datetime.fromisoformat(text)


def wait_frozen(labctl: Installation, number: str, seconds: float) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        one: dict[str, Any] = status(labctl)[number]
        if one["frozen"] == "yes":
            return one
        time.sleep(1)
    raise AssertionError(status(labctl)[number])


def test_all_wait_paused_without_a_name(session: Installation) -> None:
    found = status(session)
    assert {one["readiness"] for one in found.values()} == {"ready"}
    assert {state for one in found.values() for state in one["machines"].values()} == {"paused"}
    everything = b"".join(path.read_bytes() for path in TOP.rglob("*.jsonl"))
    assert b"Ada" not in everything
    assert {path.name for path in (TOP / "papers").iterdir()} == {"names.json"}


def test_the_exam_is_held(session: Installation, files: dict[str, str]) -> None:
    wrong = session.run("exam", "open", NAME, "--passphrase-file", files["roll"])
    assert wrong.returncode == 6
    assert "not the passphrase" in wrong.stderr
    assert session.run("exam", "open", NAME, "--passphrase-file", files["words"]).returncode == 0

    started = session.run("exam", "start", NAME)
    assert started.returncode == 0, started.stdout + started.stderr
    begun = time.monotonic()
    lines = (TOP / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    noted = next(one for one in map(json.loads, lines) if one["act"] == "start" and one["step"] == "noted")
    assert noted["facts"]["machines"] == 12
    assert noted["facts"]["spread"] <= 2.0
    check_what_is_reached(noted["facts"])

    assert session.run("exam", "pause", NAME, "--candidate", "103", "--reason", "unwell").returncode == 0
    assert set(status(session)["103"]["machines"].values()) == {"paused"}
    os.kill(supervisor(), signal.SIGKILL)
    time.sleep(8)
    assert session.run("exam", "resume", NAME, "--candidate", "103", "--reason", "well").returncode == 0
    found = status(session)
    assert set(found["103"]["machines"].values()) == {"running"}
    again = session.start("exam", "supervise")  # as systemd does after a kill
    try:
        time.sleep(3)
        assert session.run("exam", "supervise").returncode == 5
        freeze_during_a_reset(session)
        first = wait_frozen(session, "101", 60 * MINUTE + 120 - (time.monotonic() - begun))
        assert set(first["machines"].values()) == {"paused"}
        for number in ("103", "102"):
            wait_frozen(session, number, 150)
    finally:
        again.terminate()
        again.communicate(timeout=120)
    for number, minutes in (("101", 60), ("102", 79.8), ("103", 60)):
        (still,) = [one for one in entries(number, "freeze") if one["step"] == "noted"]
        assert 0 <= still["facts"]["late"] <= 1.0, number
        start = next(one for one in entries(number, "start") if one["step"] == "done")
        passed = (hour(still["facts"]["suspended"]) - hour(start["facts"]["began"])).total_seconds()
        pause = 0.0
        if number == "103":
            stood = entries("103", "pause")[0]["time"], entries("103", "resume")[-1]["time"]
            pause = (hour(stood[1]) - hour(stood[0])).total_seconds()
            assert pause > 8
        assert passed == pytest.approx((minutes + 0.5) * MINUTE + pause, abs=1.0)


def check_what_is_reached(facts: dict[str, Any]) -> None:
    """Look for ways out of a lab: there is none but to the name that is allowed, and none in for labctl's logins."""
    for lab in LABS:
        for node, card in (("fw", "mgmt"), ("fw", "wan"), ("web", "mgmt"), ("client", "mgmt")):
            document = virsh("dumpxml", f"{PREFIX}{lab}.{node}")
            part = next(one for one in document.split("<interface") if f"ua-{card}" in one)
            assert ("<link state='down'/>" in part) is not (card == "wan" and bool(ADDRESSES)), (lab, node, card)
    if ADDRESSES:  # SEC-32
        assert facts["names"] == {ALLOWED: list(ADDRESSES)}
        found = json.loads(inside(LABS[0], "fw", "/usr/bin/python3", "-c", OUTSIDE, ADDRESSES[0], ALLOWED))
        with socket.socket() as one:
            one.settimeout(5)
            reached = one.connect_ex((ADDRESSES[0], 80)) == 0  # the host itself may not get there
        assert found[0] in ADDRESSES
        assert found[1:] == ["", reached, False]


def freeze_during_a_reset(session: Installation) -> None:
    """Freeze somebody whose machine is being made anew at their wish: it is finished first, the console is cut."""
    forget_people()
    assert session.run("portal", "accounts", "--exam", NAME).returncode == 0
    tokens = {"104": begin_session("104")}
    with open_portal(session, tokens) as portal, open_chromium() as browser, closing(Visits(portal, browser)) as people:
        console = people("104").open("/labs/dmz-104/machines/client/console?mode=text")
        expect(console.locator("#console-state")).to_have_text("Connecté.", timeout=60_000)
        page = people("104").open("/exam")
        page.click("#reset-web")
        page.click("button.danger")
        until = time.monotonic() + 60
        while not entries("104", "reset"):
            assert time.monotonic() < until
            time.sleep(0.2)
        done = session.run("exam", "freeze", NAME, "--candidate", "104", "--reason", "ill", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        expect(console.locator("#console-state")).not_to_have_text(re.compile("Connecté"), timeout=10_000)
        expect(page.locator(".clock")).to_contain_text("figé", timeout=10_000)
    assert [one["step"] for one in entries("104", "reset")] == ["begun", "done"]
    one = status(session)["104"]
    assert (one["frozen"], set(one["machines"].values())) == ("yes", {"paused"})
    lines = map(json.loads, (TOP / "audit.jsonl").read_text(encoding="utf-8").splitlines())
    order = [(line["act"], line["step"]) for line in lines if line["candidate"] == "104"]
    assert order.index(("freeze", "begun")) < order.index(("reset", "done")) < order.index(("freeze", "done")), order


def test_the_copy_is_whole_and_the_work_is_shown(session: Installation) -> None:
    copy = TOP / "frozen" / "101" / "freeze-1"
    assert {path.name for path in (copy / "disks").iterdir()} == {"fw.qcow2", "web.qcow2", "client.qcow2"}
    assert {path.name for path in (copy / "states").iterdir()} == {"fw.save", "web.save", "client.save"}
    assert (copy / "manifest.json").exists()
    assert (TEST_HOME / "barred" / "dmz-101").exists()
    done = session.run("exam", "start", NAME, "--phase", "recette", "--no-supervisor")
    assert done.returncode == 0, done.stdout + done.stderr
    found = status(session)
    assert {state for one in found.values() for state in one["machines"].values()} == {"running"}
    assert not (TEST_HOME / "barred" / "dmz-101").exists()
    document = virsh("dumpxml", f"{PREFIX}dmz-101.fw")
    links = 1 if ADDRESSES else 2  # with a name that is allowed, the one to the Internet stays in
    assert document.count("<link state='down'/>") >= links, "a copy must not plug links in again"
    closed = session.run("exam", "close", NAME)
    assert closed.returncode == 0, closed.stdout + closed.stderr
    assert session.json("exam", "status", NAME)["stage"] == "closed"
    assert datetime.now(UTC) > hour(entries("", "close")[-1]["time"])
