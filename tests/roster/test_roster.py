"""Class lists as schools write them, and the golden texts of bad ones: problems/NAME.csv and NAME.txt."""

import re
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.roster import LONGEST_SLUG, Student, load_roster, make_slug, make_slugs
from labctl.topology.problems import ProblemsFound

PROBLEMS = Path(__file__).parent / "problems"
FILES = sorted(PROBLEMS.glob("*.csv"))
SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def load(tmp_path: Path, content: str | bytes) -> tuple[Student, ...]:
    path = tmp_path / "classe.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_roster(path)


def test_there_are_bad_lists() -> None:
    assert len(FILES) >= 12
    assert {file.stem for file in FILES} == {text.stem for text in PROBLEMS.glob("*.txt")}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_problem_is_told_with_its_line(file: Path, monkeypatch: pytest.MonkeyPatch, update_golden: bool) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")
    monkeypatch.chdir(PROBLEMS)
    with pytest.raises(ProblemsFound) as caught:
        load_roster(Path(file.name))
    golden = file.with_suffix(".txt")
    if update_golden:
        golden.write_text(caught.value.message + "\n", encoding="utf-8")
    assert caught.value.message + "\n" == golden.read_text(encoding="utf-8")


def test_a_full_list(tmp_path: Path) -> None:
    text = "id;name;group;time_factor;language\nada;Ada Lovelace;SISR1;4/3;FR\n\nbob;;;;\n"
    assert load(tmp_path, text) == (
        Student("ada", "ada", "Ada Lovelace", "SISR1", Fraction(4, 3), "fr", 2),
        Student("bob", "bob", "bob", "", Fraction(1), "", 4),
    )


NAMES = ["Zoé d'Artagnan", "Œdipe Lefèvre", "محمد", "Zoé d'Artagnan"]  # the last one has the first one's name
LINES = ["name;id", *(f"{name};{number}" for number, name in enumerate(NAMES))]


@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", "\r\n;;\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_way_to_write_a_list(tmp_path: Path, separator: str, end: str, encoding: str) -> None:  # F-43
    text = end.join(line.replace(";", separator) for line in LINES).replace(";;", separator * 2)
    assert [student.name for student in load(tmp_path, text.encode(encoding))] == NAMES


def test_excels_own_encoding_and_separator_line(tmp_path: Path) -> None:
    text = "sep=;\r\nID;Name;Time_Factor\r\nzoé;Zoé Œdipe – l’élève;1,33\r\n".encode("cp1252")
    (student,) = load(tmp_path, text)
    assert (student.id, student.slug, student.name) == ("zoé", "zoe", "Zoé Œdipe – l’élève")
    assert (student.time_factor, student.line) == (Fraction(133, 100), 3)


def test_quoted_cells_may_hold_separators_quotes_and_lines(tmp_path: Path) -> None:
    text = 'id,name\nada,"Lovelace, ""Ada""\nCountess"\n"bob",Bob\n'
    ada, bob = load(tmp_path, text)
    assert ada.name == 'Lovelace, "Ada"\nCountess'
    assert (bob.id, bob.line) == ("bob", 4)


@pytest.mark.parametrize(
    ("text", "factor"),
    [("", 1), ("1", 1), ("4/3", Fraction(4, 3)), ("4 / 3", Fraction(4, 3)), ("1.33", Fraction(133, 100)), ("3", 3)],
)
def test_time_factors(tmp_path: Path, text: str, factor: Fraction) -> None:
    (student,) = load(tmp_path, f"id;time_factor\nada;{text}\n")
    assert student.time_factor == factor


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Ada.Lovelace", "ada-lovelace"),
        ("Œdipe Lefèvre", "oedipe-lefevre"),
        ("d'Artagnan", "d-artagnan"),
        ("Straße_ﬁn", "strasse-fin"),
        ("Łukasz Đorđević", "lukasz-dordevic"),
        ("--a--", "a"),
        ("①②", "12"),
        ("x" * 30 + "-y", "x" * 30),
        ("李", ""),
    ],
)
def test_slugs(text: str, slug: str) -> None:
    assert make_slug(text) == slug


def test_ids_of_one_slug_are_told_apart_and_the_plain_one_keeps_it() -> None:
    slugs = make_slugs(["é.martin", "e-martin", "e martin", "bob"])
    assert slugs["e-martin"] == "e-martin"
    assert slugs["bob"] == "bob"
    assert slugs["é.martin"] == "e-martin-" + slugs["é.martin"].rpartition("-")[2]
    assert len({*slugs.values()}) == 4
    assert make_slugs(["é.martin", "e martin"])["é.martin"] == slugs["é.martin"]  # whoever else comes or goes
    imitated = make_slugs(["é.martin", "e martin", slugs["é.martin"]])
    assert imitated[slugs["é.martin"]] == slugs["é.martin"]
    assert len({*imitated.values()}) == 3


IDS = st.lists(st.text(min_size=1, max_size=40).filter(make_slug), max_size=12, unique_by=str.casefold)


@given(IDS, st.randoms())
def test_slugs_are_safe_unique_and_independent_of_the_order(ids: list[str], random: Random) -> None:
    slugs = make_slugs(ids)
    assert {*slugs} == {*ids}
    assert len({*slugs.values()}) == len(ids)
    assert all(SLUG.fullmatch(slug) and len(slug) <= LONGEST_SLUG for slug in slugs.values())
    shuffled = list(ids)
    random.shuffle(shuffled)
    assert make_slugs(shuffled) == slugs


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"id;name\n{text}".encode("utf-8", "replace")))
def test_any_file_gives_students_or_problems(content: bytes) -> None:
    folder = Path("/dev/shm")
    path = folder / "labctl-test-roster.csv"
    path.write_bytes(content)
    try:
        students = load_roster(path)
    except ProblemsFound as exc:
        assert exc.problems  # noqa: PT017  either outcome is right
    else:
        assert students
        assert len({student.slug for student in students}) == len(students)
    finally:
        path.unlink()
