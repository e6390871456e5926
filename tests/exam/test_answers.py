"""Answers of somebody else are found in what was written, by whole words, and what everybody has is not."""

from labctl.exam.answers import find_borrowed, find_collisions
from labctl.exam.evidence.difference import Change, Difference
from labctl.exam.evidence.tree import Entry, EntryKind
from labctl.topology.variants import Value

DRAWN: dict[str, dict[str, Value]] = {
    "001": {"site": "membres", "site_port": 7080},
    "002": {"site": "cercle", "site_port": 7123},
    "003": {"site": "cercle", "site_port": 7123},
    "004": {"site": "membres", "site_port": 70},
}


def difference(after: str, before: str | None = None) -> Difference:
    entries = [
        Entry("/etc/x", EntryKind.FILE, 0o644, 0, 0, text=text) if text is not None else None
        for text in (before, after)
    ]
    return Difference("web", (Change("/etc/x", entries[0], entries[1]),))


def borrowed(after: str, before: str | None = None, number: str = "001") -> list[tuple[str, str]]:
    return [(one.candidate, one.value) for one in find_borrowed(number, DRAWN, [difference(after, before)])]


def test_the_same_values_are_told() -> None:
    assert find_collisions("002", DRAWN) == ("003",)
    assert find_collisions("001", DRAWN) == ()
    assert find_collisions("009", DRAWN) == ()


def test_a_value_of_somebody_else_is_found_with_where_it_stands() -> None:
    (found, *_rest) = find_borrowed("001", DRAWN, [difference("listen 7123;\n")])
    assert found.to_dict() == {
        "candidate": "002", "variant": "site_port", "value": "7123", "node": "web", "path": "/etc/x",
    }  # fmt: skip
    assert borrowed("server_name cercle.cimes.example;") == [("002", "cercle"), ("003", "cercle")]


def test_ones_own_values_and_chance_are_not() -> None:
    assert borrowed("membres 7080 70") == []
    assert borrowed("71234 cercles x-cercle 17123") == []
    assert borrowed("cercle\nnew\n", before="cercle\n") == []


def test_a_flood_has_an_end() -> None:
    drawn: dict[str, dict[str, Value]] = {f"{number:03}": {"word": f"word{number}"} for number in range(300)}
    text = "\n".join(f"word{number}" for number in range(300))
    assert len(list(find_borrowed("000", drawn, [difference(text)]))) == 100
