"""The verb `competencies`, as its users run it: a page that fits the terminal, and JSON for programs."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from itertools import chain
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from labctl.competencies import load_competencies, load_indicators
from labctl.shipped import shipped_folder
from labctl.topology.load import shipped_topologies
from tests.cli.conftest import NOWHERE, Installation
from tests.processes import LABCTL

SHIPPED = list(shipped_topologies(shipped_folder("topologies")))
PROBLEMS = Path(__file__).parents[1] / "problems"
TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}}


def record(**properties: object) -> dict[str, object]:
    """Return the schema of an object that has these keys and no others."""
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


SERVING = {"type": "array", "items": record(lab={"enum": SHIPPED}, id={"type": "string", "pattern": "^[a-z]"})}
ATTESTED = {"enum": ["corroborated", "single-source", "slam-copy", "not-found"]}
OUTCOMES = record(
    status={"const": "labctl-proposal"},
    items={"type": "array", "items": record(en={"type": "string"}, fr={"type": "string"})},
)
INDICATORS = record(status=ATTESTED, source={"type": "string"}, official=TEXTS, outcomes=OUTCOMES)
COMPETENCY = record(
    id={"type": "string", "pattern": r"^B[1-3](\.[1-9]){0,2}$"},
    block={"enum": ["B1", "B2", "B3"]},
    title={"type": "string", "minLength": 1},
    status={"const": "official-opendata"},
    source={"type": "string", "minLength": 1},
    extent={"enum": ["covered", "announced", "gap"]},
    labs={"type": "array", "items": {"enum": SHIPPED}},
    checks=SERVING,
    faults=SERVING,
    indicators={"anyOf": [{"type": "null"}, INDICATORS]},
)
EXAMS = record(**{block: {"type": "string", "pattern": "^E[4-7]$"} for block in ("B1", "B2", "B3")})
SESSION = record(since={"type": "integer"}, until={"type": ["integer", "null"]}, exams=EXAMS, source={"type": "string"})
BLOCK = record(
    id={"enum": ["B1", "B2", "B3"]},
    title={"type": "string"},
    exam={"enum": ["E5", "E6", "E7"]},
    core={"type": "boolean"},
    covered={"type": "integer", "minimum": 0},
    total={"type": "integer"},
)
SCHEMA = record(
    version={"const": 1},
    labs={"const": SHIPPED},
    sessions={"type": "array", "items": SESSION, "minItems": 2},
    blocks={"type": "array", "items": BLOCK, "minItems": 3, "maxItems": 3},
    competencies={"type": "array", "items": COMPETENCY, "minItems": 77, "maxItems": 77},
)


def test_json_has_every_competency_and_what_serves_it(labctl: Installation) -> None:
    document = labctl.json("competencies")
    jsonschema.validate(document, SCHEMA)
    found = {one["id"]: one for one in document["competencies"]}
    assert list(found) == list(load_competencies())
    assert {"lab": "dmz", "id": "dmz-not-to-lan"} in found["B3.3.2"]["checks"]
    assert "dmz" in found["B2.2.1"]["labs"]
    assert found["B2.1"]["indicators"]["status"] == "not-found"
    assert found["B2.1"]["indicators"]["official"] == []
    assert found["B2.1"]["indicators"]["outcomes"]["items"]
    assert found["B2.1.1"]["indicators"] is None
    assert [(one["id"], one["exam"], one["core"]) for one in document["blocks"]] == [
        ("B1", "E5", False), ("B2", "E6", True), ("B3", "E7", True),
    ]  # fmt: skip


def test_the_extent_and_the_shares_follow_from_what_serves(labctl: Installation) -> None:
    document = labctl.json("competencies")
    for one in document["competencies"]:
        served = "covered" if one["checks"] or one["faults"] else "announced" if one["labs"] else "gap"
        assert one["extent"] == served
        assert {entry["lab"] for entry in one["checks"] + one["faults"]} <= set(one["labs"])
    for block in document["blocks"]:
        parts = [one for one in document["competencies"] if re.fullmatch(rf"{block['id']}\.\d\.\d", one["id"])]
        assert block["total"] == len(parts)
        assert block["covered"] == sum(one["extent"] == "covered" for one in parts)


def test_one_topology_alone(labctl: Installation) -> None:
    document = labctl.json("competencies", "--topology", "dmz")
    assert document["labs"] == ["dmz"]
    assert set(chain.from_iterable(one["labs"] for one in document["competencies"])) == {"dmz"}
    done = labctl.run("competencies", "--topology", "dmz")
    assert (done.returncode, done.stderr) == (0, "")
    assert "dmz-not-to-lan" in done.stdout


def test_a_topology_of_ones_own(labctl: Installation) -> None:
    text = (shipped_folder("topologies") / "dmz.yml").read_text(encoding="utf-8")
    own = labctl.home / "mine.yml"
    own.write_text(text.replace("name: dmz\n", "name: mine\n"), encoding="utf-8")
    assert labctl.json("competencies", "--topology", "mine.yml")["labs"] == ["mine"]


@pytest.mark.parametrize("name", ["dmzz", "nothing", "", str(PROBLEMS / "competency-unknown.yml"), "missing.yml"])
def test_a_topology_that_cannot_be_read_is_told_as_by_other_verbs(labctl: Installation, name: str) -> None:
    done = labctl.run("competencies", "--topology", name)
    other = labctl.run("plan", "--", name)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", other.stderr)


def test_it_needs_no_libvirt_and_leaves_nothing(labctl: Installation) -> None:
    done = labctl.run("competencies", LABCTL_URI=NOWHERE, LABCTL_HOME="/dev/null")
    assert (done.returncode, done.stderr) == (0, "")
    assert list(labctl.home.iterdir()) == []


def test_the_page_in_english(labctl: Installation) -> None:
    page = labctl.run("competencies").stdout
    assert "B2 · Administration des systèmes et des réseaux" in page
    assert "exam E6 (session 2026), E5 in sessions 2022 to 2024" in page
    assert re.search(r"^ *✔ B2\.2\.1 +Installer et configurer des éléments ", page, re.MULTILINE)
    assert re.search(r"^ *○ B2\.1\.3 .* gap ", page, re.MULTILINE)
    assert "Official indicators: B2.1, B2.3 not found · B2.2 found in one copy only, not whole" in page
    assert re.search(r"Sub-competencies covered by .*: \d+ of 17 in B2, \d+ of 21 in B3$", " ".join(page.split()))


def test_the_page_in_french(labctl: Installation) -> None:
    page = labctl.run("competencies", "--details", LABCTL_LANG="fr").stdout
    assert "B2 · Administration des systèmes et des réseaux" in page
    assert "épreuve E6 (session 2026), E5 aux sessions 2022 à 2024" in page
    assert "Indicateurs officiels\N{NO-BREAK SPACE}: non trouvés" in page
    assert "Résultats contrôlables par une machine\N{NO-BREAK SPACE}: propres à labctl, sans valeur officielle" in page
    assert "L'automatisation est idempotente" in page
    last = page[page.rindex("Sous-compétences couvertes par ") :].replace("\n", " ")  # the labs may take several lines
    assert re.match(r"Sous-compétences couvertes par .*\N{NO-BREAK SPACE}: \d+ sur 17 en B2", last)
    english = set(re.findall(r"Official|covered|gap\b|Checks|Faults|exam |session\)?s? to", page))
    assert english == set()


def section(page: str, name: str) -> str:
    """Return the indicators of a competency as printed: from its heading below the table to the next empty line."""
    heading = r"\s+".join(re.escape(word) for word in (name, *load_competencies()[name].title.split()))
    lines = "\n".join(line.rstrip() for line in page.splitlines())  # tables are filled up with spaces
    return re.split(rf"^{heading}\n", lines, maxsplit=1, flags=re.MULTILINE)[1].split("\n\n", 1)[0]


def test_indicators_that_were_not_found_are_shown_as_absent(labctl: Installation) -> None:
    page = labctl.run("competencies", "--details").stdout
    for name, found in load_indicators().items():
        official, _head, own = section(page, name).partition("Outcomes that machines can check: ")
        head, *items = official.rstrip().splitlines()
        assert head.strip().startswith("Official indicators: ")
        assert ("not found" in head) is (name in {"B2.1", "B2.3"})
        printed = " ".join(" ".join(line.split()) for line in items)
        assert printed == " ".join(f"- {text}" for text in found.official)
        assert own.startswith("labctl's own, not official\n") is bool(found.goals)
        printed = " ".join(" ".join(line.split()) for line in own.splitlines()[1:])
        assert printed == " ".join(f"- {goal.en}" for goal in found.goals)


def test_block_b1_shows_only_what_is_served_unless_asked(labctl: Installation) -> None:
    short, whole = (labctl.run("competencies", *words).stdout for words in ((), ("--details",)))
    gaps = [one["id"] for one in labctl.json("competencies")["competencies"] if one["extent"] == "gap"]
    parts = [name for name in gaps if re.fullmatch(r"B1\.\d\.\d", name)]
    assert parts
    assert [name for name in parts if name in short] == []
    assert [name for name in parts if f"○ {name} " not in whole] == []
    assert f"{len(parts)} more sub-competencies of B1" in short


def on_a_terminal(labctl: Installation, columns: int, *words: str) -> str:
    """Return what a person sees on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(labctl.home), "LABCTL_HOME": str(labctl.home / "labctl"),
        "LABCTL_LANG": "en", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color",
    }  # fmt: skip
    with subprocess.Popen([LABCTL, *words], env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        seen = b""
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # Linux says EIO when the last process has closed the terminal
                break
            if not more:
                break
            seen += more
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", [(), ("--topology", "dmz"), ("--details",)], ids=["all", "one", "details"])
def test_the_page_fits_a_terminal(labctl: Installation, columns: int, words: tuple[str, ...]) -> None:
    page = on_a_terminal(labctl, columns, "competencies", *words)
    lines = page.splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in page  # nothing is cut off
    assert len(lines) > 60
    if words:
        document = labctl.json("competencies", "--topology", "dmz")
        names = {entry["id"] for one in document["competencies"] for entry in one["checks"]}
        # A longer name may be folded in its column.
        assert {name for name in names if len(name) <= 18 and name not in page} == set()


def test_completion_of_its_topologies(labctl: Installation) -> None:
    for typed, expected in (("labctl comp", "competencies"), ("labctl competencies --topology d", "dmz")):
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_LABCTL_COMPLETE": "bash_complete"}
        assert f"plain,{expected}" in labctl.run(**words).stdout.splitlines()
