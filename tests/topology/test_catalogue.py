"""Role metadata becomes services, and its problems are shown like those of topologies."""

from pathlib import Path

import pytest

from labctl.competencies import load_competencies
from labctl.topology.catalogue import load_catalogue
from labctl.topology.problems import ProblemsFound
from tests.topology.known import known


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


def test_services_come_from_role_metadata() -> None:
    catalogue = known()
    assert sorted(catalogue.services) == ["time_server", "web_server"]
    assert catalogue.services["time_server"].parameters == {}
    web = catalogue.services["web_server"]
    assert web.title.pick("fr") == "Serveur web"
    assert web.packages == ("nginx",)
    assert web.packages_for("debian-13") == ("nginx",)
    assert web.packages_for("debian-12") == ("libnginx-mod-http-brotli-filter", "nginx")
    sites = web.parameters["sites"]
    assert (sites.type, sites.elements, sites.required, sites.french) == ("list", "dict", True, "Les sites à servir.")
    assert sites.options["level"].choices == ("old", "modern")
    assert sites.options["tls"].default is True


def test_images_have_a_minimum_memory() -> None:
    assert known().images["debian-13"].minimum_memory == 256


def write_role(folder: Path, card: str, specs: str = "") -> None:
    meta = folder / "roles" / "mail" / "meta"
    meta.mkdir(parents=True)
    (meta / "labctl.yml").write_text(card)
    if specs:
        (meta / "argument_specs.yml").write_text(specs)


CARD = "title: {en: Mail, fr: Courrier}\ncompetencies: [B2.2.1]\npackages: [postfix]\n"


@pytest.mark.parametrize(
    ("card", "specs", "said"),
    [
        (CARD.replace("fr: Courrier", "de: Post"), "", "labctl.yml:1:1: title.fr"),
        (CARD.replace("B2.2.1", "B2.2.9"), "", "2:16: competencies[0]: expected a competency of the official list"),
        (CARD.replace("B2.2.1", "B2.2.1, B3.5.4, B2.2.1"), "", ":2:32: competencies[2]: expected each competency once"),
        (CARD.replace("B2.2.1", "B2.2.9, 7"), "", 'found "B2.2.9"; did you mean "B2.2.6"?'),
        (CARD + "pakages: []\n", "", 'did you mean "packages"?'),
        (CARD.replace("postfix", "'-o Dir=x'"), "", "labctl.yml:3:12: packages[0]: expected a Debian package"),
        (CARD, "argument_specs: {main: {options: {domain: {}}}}", 'expected a name that starts with "mail_"'),
        (CARD, "argument_specs: {main: {options: {mail_domain: {type: string}}}}", 'did you mean "str"?'),
        (CARD, "argument_specs: {}", 'expected the key "main"'),
    ],
)  # fmt: skip
def test_problems_of_role_metadata_are_shown(tmp_path: Path, card: str, specs: str, said: str) -> None:
    write_role(tmp_path, card, specs)
    with pytest.raises(ProblemsFound) as caught:
        load_catalogue(tmp_path, ())
    assert said in caught.value.message


def test_no_playbooks_are_no_services(tmp_path: Path) -> None:
    assert load_catalogue(tmp_path / "nothing", ()).services == {}


def test_competencies_are_the_official_ones() -> None:
    competencies = load_competencies()
    assert len(competencies) == len(set(competencies)) == 77
    assert competencies["B2.2.1"].title == "Installer et configurer des éléments d'infrastructure"
    assert competencies["B3"].title == "Cybersécurité des services informatiques"
    assert {one.block for one in competencies.values()} == {"B1", "B2", "B3"}
    assert {one.status for one in competencies.values()} == {"official-opendata"}
    assert all(one.id.startswith(one.block) and one.source for one in competencies.values())
