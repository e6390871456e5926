"""The lab `dmz` with a firewall of another maker has the checks of `dmz`: what is tried and what is expected."""

from pathlib import Path

from labctl.shipped import shipped_folder
from labctl.topology.load import load_topology
from labctl.topology.model import Check, Topology
from tests.worlds import catalogue, dmz

TEXTS = {"failed", "hints"}  # these say where to look, which is another place


def opnsense() -> Topology:
    return load_topology(shipped_folder("topologies") / "dmz-opnsense.yml", catalogue())


def plain(check: Check) -> dict[str, object]:
    return check.model_dump(exclude=TEXTS)


def test_the_checks_are_those_of_dmz_without_those_that_need_a_shell_on_the_firewall() -> None:
    expected = [plain(check) for check in dmz().checks if check.origin != "fw"]
    assert [plain(check) for check in opnsense().checks] == expected
    assert len(expected) > 15


def test_the_texts_do_not_send_to_programs_that_opnsense_does_not_have() -> None:
    said = " ".join(str(check.model_dump(include=TEXTS)) for check in opnsense().checks)
    assert not [word for word in ("nftables", "chain input", "chaîne", "named", "BIND") if word in said]


def test_the_machines_differ_in_the_firewall_s_image_only() -> None:
    ours, theirs = opnsense(), dmz()
    assert ours.networks == theirs.networks
    assert ours.nodes["fw"].model_dump(exclude={"image", "memory"}) == theirs.nodes["fw"].model_dump(
        exclude={"image", "memory"}
    )
    assert {name: node for name, node in ours.nodes.items() if name != "fw"} == {
        name: node for name, node in theirs.nodes.items() if name != "fw"
    }
    assert Path(shipped_folder("topologies") / "dmz-opnsense.yml").read_text(encoding="utf-8").count("opnsense-25") == 1


def test_its_faults_are_those_of_dmz_brought_about_by_rules() -> None:
    theirs = {fault.id: fault for fault in dmz().faults}
    found = opnsense().faults
    for fault in found:
        assert bool(fault.rules) is (fault.node == "fw"), fault.id
        assert "labctl" not in str(fault.rules)
        if fault.id in theirs:
            kept = {"id", "ticket", "fixed", "difficulty", "competencies", "node"}
            assert fault.model_dump(include=kept) == theirs[fault.id].model_dump(include=kept)
    assert len([fault for fault in found if fault.rules]) >= 8
    assert {fault.id for fault in found} - {*theirs} == {"fw-refuses-names-to-dmz", "fw-blocks-http"}
