"""Good files load, and what a person types finds its file."""

import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labctl.errors import InvalidFile
from labctl.topology.load import find_topology, load_topology
from labctl.topology.model import Segment
from labctl.topology.network_probes import Ping
from labctl.topology.problems import ProblemsFound
from tests.topology.known import GOOD, known


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


def test_a_good_file_becomes_a_topology() -> None:
    topology = load_topology(GOOD, known())
    assert topology.name == "small"
    assert isinstance(topology.networks["lan"], Segment)
    assert topology.nodes["web"].interfaces["lan"].gateway == IPv4Address("10.0.0.254")
    assert topology.nodes["web"].services["web_server"] == {"sites": [{"name": "www.lan.example"}]}
    assert isinstance(topology.checks[0].probe, Ping)
    assert topology.checks[0].origin == "web"


def test_windows_line_ends_and_a_byte_order_mark_are_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "lab.yml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.read_bytes().replace(b"\n", b"\r\n"))
    assert load_topology(file, known()) == load_topology(GOOD, known())


def problems_of(file: Path) -> str:
    with pytest.raises(ProblemsFound) as caught:
        load_topology(file, known())
    return caught.value.message


def test_a_file_of_256_kib_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lab.yml"
    content = GOOD.read_bytes() + b"#" * (256 * 1024 - GOOD.stat().st_size)
    file.write_bytes(content)
    load_topology(file, known())
    file.write_bytes(content + b"#")
    assert "at most 256 KiB" in problems_of(file)


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    assert "found a folder" in problems_of(tmp_path)
    (tmp_path / "first-lab.yml").touch()
    assert 'did you mean "first-lab.yml"' in problems_of(tmp_path / "first-lba.yml")
    os.mkfifo(tmp_path / "pipe.yml")
    assert "a regular file" in problems_of(tmp_path / "pipe.yml")
    (tmp_path / "loop.yml").symlink_to("loop.yml")
    assert "a file that can be read" in problems_of(tmp_path / "loop.yml")
    assert "a file that can be read" in problems_of(tmp_path / ("x" * 300))
    assert "found nothing" in problems_of(tmp_path / "nowhere" / "lab.yml")


def test_twenty_levels_are_read_and_one_more_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "lab.yml"
    file.write_text("a: " + "[" * 19 + "]" * 19)
    assert "of nesting" not in problems_of(file)
    file.write_text("a: " + "[" * 20 + "]" * 20)
    assert "at most 20 levels" in problems_of(file)


def test_a_path_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "dmz.yml").touch()
    monkeypatch.chdir(tmp_path)
    assert find_topology("dmz", shipped) == shipped / "dmz.yml"
    (tmp_path / "dmz").mkdir()
    assert find_topology("dmz", shipped) == shipped / "dmz.yml"
    (tmp_path / "dmz").rmdir()
    (tmp_path / "dmz").touch()
    assert find_topology("dmz", shipped) == Path("dmz")
    assert find_topology("./new.yml", shipped) == Path("new.yml")
    with pytest.raises(InvalidFile, match='did you mean "dmz"') as caught:
        find_topology("dnz", shipped)
    assert caught.value.hint == "labctl validate dmz"
    for name in ("\0", "x" * 5000, "../dmz", "", "\x1b[31m"):
        with pytest.raises(InvalidFile) as caught:
            load_topology(find_topology(name, shipped), known())
        assert "\x1b" not in caught.value.message


def load_text(folder: Path, text: str) -> None:
    file = folder / "lab.yml"
    file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    said = ""
    try:
        load_topology(file, known())
    except InvalidFile as problems:
        said = problems.message
    assert all(char.isprintable() or char in "\n\u00a0\u202f" for char in said)
    assert all(len(line) < 1000 for line in said.splitlines())


quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
WORDS = ["small", '"1.0"', "10.0.0.0/24", "10.0.0.254", "debian-13", "lan", "web_server", "ping"]


@quick
@given(st.text())
def test_no_text_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    load_text(tmp_path, text)


@quick
@given(st.sampled_from(WORDS), st.text(st.characters(), max_size=400), st.booleans())
def test_no_name_or_value_ends_in_a_traceback(tmp_path: Path, word: str, text: str, quoted: bool) -> None:
    quoting = "'" + text.replace("'", "''") + "'" if quoted else text
    load_text(tmp_path, GOOD.read_text().replace(word, quoting))


@quick
@given(
    st.integers(0, 900),
    st.integers(0, 40),
    st.sampled_from(["", "{", "]", ": ", "- ", "&a ", "*a ", "!!int ", "'", '"', "\n", "\t", "~", "? ", "1"]),
)
def test_no_slip_of_the_pen_ends_in_a_traceback(tmp_path: Path, start: int, length: int, typed: str) -> None:
    text = GOOD.read_text()
    load_text(tmp_path, text[:start] + typed + text[start + length :])
