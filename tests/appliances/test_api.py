"""The REST client against a local server that answers as OPNsense's documentation says, and as it must not."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from labctl.appliances.api import OPNsense
from labctl.appliances.web import Unreachable
from labctl.errors import DeadlineMissed, LabctlError, Refused
from tests.appliances.local_firewall import KEY, SECRET, Firewall, make_certificate, make_pair, running_firewall

NAME = "0d0e2b8e-7a51-4c1c-9d53-0a7b1c2d3e4f"
RULE = {
    "description": "Panne", "action": "block", "interface": "lan", "protocol": "TCP", "destination_port": "443",
}  # fmt: skip


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return make_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(certificate: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Firewall]:
    monkeypatch.setenv("LABCTL_LANG", "en")
    with running_firewall(certificate[1]) as firewall:
        yield firewall


def client(server: Firewall, pem: str, secret: str = SECRET, timeout: float = 30.0) -> OPNsense:
    return OPNsense("127.0.0.1", KEY, secret, pem, server.server_port, timeout)


def test_rules_are_put_applied_and_removed_with_a_way_back(server: Firewall, certificate: tuple[str, Path]) -> None:
    fw = client(server, certificate[0])
    fw.change_rules({NAME: RULE})
    assert server.rules == {NAME: RULE}
    assert fw.read_rule(NAME) == RULE
    assert server.asked[:-1] == [
        "firewall/filter/savepoint", f"firewall/filter/set_rule/{NAME}", "firewall/filter/apply/1583.12",
        "firewall/filter/cancel_rollback/1583.12",
    ]  # fmt: skip
    fw.change_rules({}, [NAME])
    assert server.rules == {}
    assert fw.read_rule(NAME) == {}


def test_a_version_without_a_way_back_applies_all_the_same(server: Firewall, certificate: tuple[str, Path]) -> None:
    server.odd["firewall/filter/savepoint"] = (404, b'{"errorMessage":"Endpoint not found"}')
    client(server, certificate[0]).change_rules({NAME: RULE})
    assert server.asked[1:] == [f"firewall/filter/set_rule/{NAME}", "firewall/filter/apply"]


def test_a_wrong_field_is_told_in_the_firewall_s_words(server: Firewall, certificate: tuple[str, Path]) -> None:
    with pytest.raises(LabctlError, match=r"rule\.interface: A value is required"):
        client(server, certificate[0]).change_rules({NAME: {"action": "pass"}})
    assert not [path for path in server.asked if "apply" in path]


def test_a_rule_that_is_gone_already_is_no_error(server: Firewall, certificate: tuple[str, Path]) -> None:
    client(server, certificate[0]).change_rules({}, [NAME])
    assert "firewall/filter/apply/1583.12" in server.asked


def test_a_rule_that_cannot_be_removed_is_told(server: Firewall, certificate: tuple[str, Path]) -> None:
    server.odd[f"firewall/filter/del_rule/{NAME}"] = (200, b'{"result":"failed"}')
    with pytest.raises(LabctlError, match="del_rule: failed"):
        client(server, certificate[0]).change_rules({}, [NAME])


def test_another_certificate_is_refused_before_the_key_is_sent(server: Firewall) -> None:
    with pytest.raises(Refused, match="certificate"):
        client(server, make_certificate()[0]).change_rules({NAME: RULE})
    assert server.asked == []


def test_refused_keys_are_told_without_them(server: Firewall, certificate: tuple[str, Path]) -> None:
    with pytest.raises(Refused, match="key") as caught:
        client(server, certificate[0], "wrong-secret").change_rules({NAME: RULE})
    assert "wrong-secret" not in caught.value.message
    assert "wrong-secret" not in repr(client(server, certificate[0], "wrong-secret"))


def test_a_slow_server_is_given_up_in_time(server: Firewall, certificate: tuple[str, Path]) -> None:
    server.slow = 2.0
    with pytest.raises(Unreachable, match="no answer in time"):
        client(server, certificate[0], timeout=0.5).get("firewall/filter/search_rule")


@pytest.mark.parametrize(
    ("status", "data"), [(200, b"<html>login</html>"), (200, b"[1]"), (500, b"{}"), (200, b"x" * (2 << 20))]
)
def test_an_answer_of_another_kind_is_told(
    server: Firewall, certificate: tuple[str, Path], status: int, data: bytes
) -> None:
    server.odd["firewall/filter/savepoint"] = (status, data)
    with pytest.raises(LabctlError, match="not as its documentation says"):
        client(server, certificate[0]).change_rules({})


def test_a_firewall_that_starts_is_waited_for_until_the_deadline(
    server: Firewall, certificate: tuple[str, Path]
) -> None:
    fw = client(server, certificate[0])
    server.odd["diagnostics/system/system_information"] = (503, b"")
    with pytest.raises(DeadlineMissed, match="did not answer within 0 s"):
        fw.wait_ready(0.1)
    timer = threading.Timer(0.5, server.odd.clear)
    timer.start()
    fw.wait_ready(60)
    timer.join()
    assert len(server.asked) >= 2


def test_nobody_there(certificate: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        OPNsense("127.0.0.1", KEY, SECRET, certificate[0], 1, 5).get("x")


def test_a_zone_is_the_hosts_own_and_not_said_to_the_firewall() -> None:
    assert OPNsense("fe80::5054:ff:fe12:3456%lb0123456789ab", KEY, SECRET, "").host == "[fe80::5054:ff:fe12:3456]"
