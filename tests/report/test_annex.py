"""The draft of annex II.E says what the topology holds, and nothing else."""

from labctl.report.annex import Cover, Draft, load_annex, make_annex
from labctl.report.page import render_annex
from labctl.topology.model import Topology
from tests.report.sheets import atelier
from tests.worlds import catalogue, dmz

REMARK = (
    "Les logiciels de simulation ou d'émulation sont utilisés en réponse à des besoins de l'organisation. Ils ne "
    "peuvent se substituer complètement à des équipements réels dans l'environnement technologique d'apprentissage."
)


def drafts(topology: Topology) -> dict[str, Draft]:
    return {draft.text: draft for part in make_annex(topology, catalogue(), "en").parts for draft in part.drafts}


def test_what_the_annex_asks_for_is_whole() -> None:
    parts = {part.id: part for part in load_annex().parts}
    assert {name: len(part.elements) for name, part in parts.items()} == {
        "common": 8, "security": 4, "sisr": 10, "sisr_one": 4,
    }  # fmt: skip
    assert {name: part.verified for name, part in parts.items()} == {
        "common": True, "security": True, "sisr": False, "sisr_one": False,
    }  # fmt: skip
    assert load_annex().remark == REMARK


def test_every_service_of_the_annex_exists() -> None:
    ways = [way for part in load_annex().parts for element in part.elements for way in element.served_by]
    assert {way.service for way in ways if way.service} <= catalogue().services.keys()
    assert {*load_annex().terminals} <= catalogue().services.keys()


def test_what_serves_an_element_is_named_with_its_place() -> None:
    seen = drafts(atelier())
    assert seen["Un accès sécurisé à internet"].facts == (
        "fw (debian-13, 192.168.50.254, 172.16.10.254) – Router and firewall (nftables)",
    )
    assert seen["Chiffrement"].facts == ("web (debian-13, 192.168.50.80) – HTTPS web server (nginx)",)
    assert seen["un réseau comportant plusieurs périmètres de sécurité"].facts == (
        "fw (debian-13, 192.168.50.254, 172.16.10.254) separates internet, dmz, lan",
    )


def test_what_nothing_serves_is_not_covered() -> None:
    for topology in (atelier(), dmz()):
        draft = drafts(topology)["Un SGBD"]
        assert (draft.cover, draft.facts, draft.lacks) == (Cover.NOT, (), "")


def test_what_is_missing_of_an_element_is_said() -> None:
    seen = drafts(atelier())
    servers = next(draft for text, draft in seen.items() if text.startswith("Deux serveurs"))
    assert servers.cover is Cover.PARTLY
    assert servers.facts == ("fw, web – Debian GNU/Linux, free software",)
    assert "another operating system" in servers.lacks
    terminals = next(draft for text, draft in seen.items() if text.startswith("Deux types de terminaux"))
    assert terminals.cover is Cover.PARTLY
    assert "mobile" in terminals.lacks


def test_a_negative_check_serves_nothing() -> None:
    def remote(topology: Topology) -> Draft:
        return next(draft for text, draft in drafts(topology).items() if "administration à distance" in text)

    assert remote(atelier()).facts == ("The office administers the firewall by SSH (check fw-ssh, port 22)",)
    kept = tuple(check for check in atelier().checks if check.id != "fw-ssh")
    assert remote(atelier().model_copy(update={"checks": kept})).cover is Cover.NOT


def test_without_machines_that_serve_nothing_is_claimed() -> None:
    client = {"client": atelier().nodes["client"]}
    bare = atelier().model_copy(update={"nodes": client, "checks": ()})
    covers = {text: draft.cover for text, draft in drafts(bare).items()}
    assert {text for text, cover in covers.items() if cover is not Cover.NOT} == {
        "Deux types de terminaux dont un mobile (type smartphone ou encore tablette)",
        "Analyse de trafic", "un logiciel d'analyse de trames",
    }  # fmt: skip


def test_the_page_keeps_the_third_column_empty_and_says_what_it_is() -> None:
    page = render_annex(make_annex(atelier(), catalogue(), "en"))
    assert page.count("<td></td>") == 26
    assert "Un SGBD" in page
    assert page.count("wording not verified") == 2 + 14
    assert "Ils ne peuvent se substituer complètement" in page
