"""The list of competencies says what the official text says, where that was found, and nothing more."""

import ast
import hashlib
import re
from itertools import chain
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from labctl.competencies import Status, exam_number, load_competencies, load_indicators, load_sessions
from labctl.lab.workplace import shipped_catalogue
from labctl.topology.load import load_topology, shipped_topologies

ROOT = Path(__file__).parents[1]
SHIPPED = shipped_topologies(ROOT / "topologies")

# Typed from the sheet RNCP40792, one of each block and those that differ by a letter from what one would write.
TITLES = {
    "B1": "Support et mise à disposition de services informatiques",
    "B1.1.5": "Gérer des sauvegardes",
    "B1.6.2": "Mettre en oeuvre des outils et stratégies de veille informationnelle",
    "B2": "Administration des systèmes et des réseaux",
    "B2.1": "Concevoir une solution d'infrastructure réseau",
    "B2.2.1": "Installer et configurer des éléments d'infrastructure",
    "B2.2.2": "Installer et configurer des éléments nécessaires pour assurer la continuité des services",
    "B2.2.6": "Déployer une solution d'infrastructure",
    "B2.3.4": "Identifier, qualifier, évaluer et réagir face à un incident ou à un problème",
    "B3": "Cybersécurité des services informatiques",
    "B3.3.3": "Gérer les accès et les privilèges appropriés",
    "B3.5.4": "Prévenir les attaques",
    "B3.5.6": "Analyser les incidents de sécurité, proposer et mettre en oeuvre des contre-mesures",
}
PARTS = {
    "B1.1": 6, "B1.2": 3, "B1.3": 3, "B1.4": 3, "B1.5": 3, "B1.6": 4, "B2.1": 6, "B2.2": 6, "B2.3": 5,
    "B3.1": 4, "B3.2": 2, "B3.3": 4, "B3.4": 5, "B3.5": 6,
}  # fmt: skip
FOUND = {
    "B1.1": ("corroborated", 7), "B1.2": ("corroborated", 8), "B1.3": ("corroborated", 5), "B1.4": ("corroborated", 8),
    "B1.5": ("corroborated", 6), "B1.6": ("corroborated", 3), "B2.1": ("not-found", 0), "B2.2": ("single-source", 3),
    "B2.3": ("not-found", 0), "B3.1": ("corroborated", 5), "B3.2": ("corroborated", 2), "B3.3": ("corroborated", 9),
    "B3.4": ("corroborated", 12), "B3.5": ("slam-copy", 3),
}  # fmt: skip
# SHA-256 of all official texts, taken when they were compared with the sources word for word: whoever changes one has
# the new wording before their eyes, and changes this too.
SEAL = "66502455d9fcd67ff488ec5746967cf7e1bf4e3126c3d021c244d80efa77030f"


@pytest.mark.parametrize(("name", "title"), TITLES.items())
def test_a_title_is_verbatim(name: str, title: str) -> None:
    assert load_competencies()[name].title == title


def test_the_list_is_whole_and_in_the_official_order() -> None:
    names = list(load_competencies())
    assert names == sorted(names)
    parts = [name for name, one in load_competencies().items() if one.is_part]
    assert parts == [f"{name}.{number}" for name, count in PARTS.items() for number in range(1, count + 1)]
    assert set(names) - set(parts) == {"B1", "B2", "B3", *PARTS}


def test_every_title_says_how_well_it_is_attested_and_by_what() -> None:
    assert {one.status for one in load_competencies().values()} == {Status.OPEN_DATA}
    sources = {one.block: one.source for one in load_competencies().values()}
    assert sources == {
        "B1": "France Compétences, RNCP40792BC01",
        "B2": "France Compétences, RNCP40792BC02",
        "B3": "France Compétences, RNCP40792BC04",
    }


def test_every_competency_has_its_indicators_or_says_that_they_were_not_found() -> None:
    found = {name: (str(one.status), len(one.official)) for name, one in load_indicators().items()}
    assert found == FOUND
    assert all(one.source for one in load_indicators().values())
    assert all((one.status is Status.NOT_FOUND) is (not one.official) for one in load_indicators().values())


def test_some_indicators_are_verbatim() -> None:
    found = load_indicators()
    assert found["B1.1"].official[5] == "Les restaurations sont testées et opérationnelles."
    assert found["B2.2"].official[0] == "La documentation est à jour et disponible."
    assert found["B3.3"].official[3] == "Les flux réseaux sont identifiés et sécurisés."
    assert found["B3.4"].official[-1] == "Les vulnérabilités connues sont contrôlées."


def test_no_official_text_was_changed() -> None:
    titles = (f"{one.id} {one.title}" for one in load_competencies().values())
    indicators = (f"{name} {text}" for name, one in load_indicators().items() for text in one.official)
    assert hashlib.sha256("\n".join(chain(titles, indicators)).encode()).hexdigest() == SEAL


def test_what_labctl_words_itself_is_never_among_the_official_texts() -> None:
    official = {text for one in load_indicators().values() for text in one.official}
    own = [goal for one in load_indicators().values() for goal in one.goals]
    assert len(own) == 13
    assert all(goal.en and goal.fr and goal.en != goal.fr for goal in own)
    assert official.isdisjoint({text for goal in own for text in (goal.en, goal.fr)})


@pytest.mark.parametrize(
    ("block", "year", "number"),
    [
        ("B1", 2022, "E4"), ("B2", 2022, "E5"), ("B3", 2024, "E6"),
        ("B1", 2026, "E5"), ("B2", 2026, "E6"), ("B3", 2026, "E7"), ("B2", 2028, "E6"),
        ("B2", 2025, ""), ("B2", 2021, ""), ("B4", 2026, ""),  # what was not found is not guessed
    ],
)  # fmt: skip
def test_the_number_of_an_exam_follows_from_block_and_session(block: str, year: int, number: str) -> None:
    assert exam_number(block, year) == number


def test_sessions_do_not_overlap_and_the_newest_comes_first() -> None:
    newest, *older = load_sessions()
    assert newest.until is None
    later = newest.since
    for session in older:
        assert session.until is not None
        assert session.since <= session.until < later
        later = session.since


def test_an_exam_number_is_never_a_key() -> None:
    """It moved by one between two sessions: E6 is another exam then and now."""
    number = re.compile(r"E[4-7]")
    keys = [
        f"{path.name}:{node.lineno}"
        for path in sorted((ROOT / "labctl").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and number.fullmatch(node.value)
    ]
    assert keys == []
    cards = chain((ROOT / "topologies").glob("*.yml"), (ROOT / "playbooks").rglob("meta/labctl.yml"))
    word = re.compile(r"\bE[4-7]\b")
    assert [path.name for path in cards if word.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_every_id_that_a_shipped_topology_names_exists(name: str) -> None:
    """Read without the model and with it: what the model leaves out would not be looked up either."""
    plain = YAML(typ="safe", pure=True).load(SHIPPED[name])
    named = {
        *plain["competencies"],
        *(check["competency"] for check in plain["checks"]),
        *chain.from_iterable(fault["competencies"] for fault in plain.get("faults", ())),
    }
    assert named
    assert named <= load_competencies().keys()
    topology = load_topology(SHIPPED[name], shipped_catalogue())
    assert named == {
        *topology.competencies,
        *(check.competency for check in topology.checks),
        *chain.from_iterable(fault.competencies for fault in topology.faults),
    }


def test_every_id_that_a_role_names_exists() -> None:
    services = shipped_catalogue().services.values()
    assert len(services) >= 4
    assert {name for one in services for name in one.competencies} <= load_competencies().keys()
