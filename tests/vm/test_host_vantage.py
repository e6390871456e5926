"""Checks from the host of a real machine's services: through the golden build, a clone, and a service that stops."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.conftest import Installation

pytestmark = [pytest.mark.vm, pytest.mark.labs, pytest.mark.timeout(1800)]

LAB = "vantage-test"
TOPOLOGY = """\
name: vantage
version: "1.0"
title: {en: Seen from the host, fr: Vu de l'hôte}
description: {en: One web server., fr: Un serveur web.}
competencies: [B2.2.1]
networks:
  lan: {kind: segment, cidr: 10.1.0.0/24}
nodes:
  web:
    image: debian-13
    memory: 512
    interfaces:
      lan: {network: lan, address: 10.1.0.1}
    services:
      web_server:
        sites:
          - {name: www.cimes.example, title: Les Cimes}
checks:
"""
PROBES = {
    "answers": "{type: ping, to: web}",
    "ssh": "{type: tcp, to: web, port: 22}",
    "site": "{type: http, url: 'http://web/', status: 301}",
    "database": "{type: tcp, to: web, port: 3306}",
}


def check(name: str, probe: str) -> str:
    lines = [
        f"id: {name}",
        *(f"{key}: {{en: The host sees {name}, fr: L'hôte voit {name}}}" for key in ("title", "pass", "fail")),
        "from: host",
        f"probe: {probe}",
        "competency: B2.2.1",
        *(["negative: true"] if name == "database" else []),
    ]
    return "  - " + "\n    ".join(lines) + "\n"


@pytest.fixture(scope="module")
def vantage(labctl: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("vantage") / "vantage.yml"
    path.write_text(TOPOLOGY + "".join(check(name, probe) for name, probe in PROBES.items()), encoding="utf-8")
    done = labctl.run("up", str(path), "--student", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    yield path
    labctl.run("down", LAB, "--yes")


def results(labctl: Installation) -> dict[str, str]:
    return {one["id"]: one["result"] for one in labctl.json("check", LAB)["checks"]}


@pytest.mark.usefixtures("vantage")
def test_the_host_asks_a_clone_and_sees_what_stops(labctl: Installation) -> None:
    assert results(labctl) == dict.fromkeys(PROBES, "passed")
    labctl.run("ssh", LAB, "web", "--", "systemctl", "stop", "nginx", timeout=120)
    assert results(labctl) == {**dict.fromkeys(PROBES, "passed"), "site": "failed"}
    labctl.run("ssh", LAB, "web", "--", "systemd-run --unit=db python3 -m http.server 3306", timeout=120)
    assert results(labctl)["database"] == "failed"


@pytest.mark.usefixtures("vantage")
def test_a_machine_that_does_not_run_is_not_called_failed(labctl: Installation) -> None:
    labctl.run("ssh", LAB, "web", "--", "systemctl", "poweroff", timeout=120)
    assert set(results(labctl).values()) == {"unknown"}
