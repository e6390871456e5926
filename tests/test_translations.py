"""French is whole and true: every sentence, every placeholder, and the compiled catalogue that people really read."""

import ast
import re
import string
from collections.abc import Iterator

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import read_po

from labctl.language import choose_language, translations
from tests.translations import MO, PACKAGE, PO, compiled, extract, is_translated, merge, read_catalogue, written

UPDATE = "python -m tests.translations"
OLD_STYLE = re.compile(r"%\(\w+\)[sd]")
MARKS = {"_": 1, "N_": 1, "gettext": 1, "ngettext": 2}


def french() -> list[Message]:
    return [message for message in read_catalogue() if message.id]


def forms(text: object) -> tuple[str, ...]:
    return tuple(map(str, text)) if isinstance(text, tuple | list) else (str(text),)


def test_every_sentence_has_its_french() -> None:
    known = {message.id for message in french() if is_translated(message.string)}
    missing = [message.id for message in extract() if message.id and message.id not in known]
    assert missing == [], f"to add them: {UPDATE}"


def test_the_catalogue_holds_no_sentence_that_is_gone() -> None:
    said = {message.id for message in extract()}
    assert [message.id for message in french() if message.id not in said] == [], f"to drop them: {UPDATE}"
    with PO.open("rb") as stream:
        assert read_po(stream).obsolete == {}


def test_nothing_is_fuzzy() -> None:
    with PO.open("rb") as stream:
        catalog = read_po(stream)
    assert not catalog.fuzzy
    assert [message.id for message in catalog if message.fuzzy] == []


def test_the_catalogue_is_as_the_update_command_writes_it() -> None:
    assert PO.read_bytes() == written(merge(extract(), read_catalogue())), f"to write it: {UPDATE}"


def test_the_compiled_catalogue_is_the_one_that_stands_beside_it() -> None:
    assert MO.read_bytes() == compiled(read_catalogue()), f"to compile it: {UPDATE}"


def test_the_header_names_the_project_and_nobody_else() -> None:
    header = PO.read_text(encoding="utf-8").partition("\n\n")[0]
    assert '"Project-Id-Version: labctl\\n"' in header
    assert not re.search("PROJECT|ORGANIZATION|FULL NAME|EMAIL@|fuzzy", header)


def placeholders(text: str) -> list[tuple[str, str | None, str | None]]:
    """Return what is filled in: name, format and conversion. A sentence may speak of a lone brace, and has nothing."""
    try:
        fields = [(name, spec, conversion) for _text, name, spec, conversion in string.Formatter().parse(text) if name]
    except ValueError:
        fields = []
    return sorted([*fields, *((found, None, None) for found in OLD_STYLE.findall(text))], key=str)


def test_every_placeholder_is_in_both_languages() -> None:
    wrong = [
        (english, translated)
        for message in french()
        for english, translated in zip(forms(message.id), forms(message.string), strict=True)
        if translated and placeholders(english) != placeholders(translated)
    ]
    assert wrong == []


def test_french_typography() -> None:
    """A colon or a guillemet must not stand alone at the start of a line: the space before it does not break."""
    texts = [text for message in french() for text in forms(message.string)]
    assert [text for text in texts if re.search(r" [:;?!»]|« |»\w|\w«|\.\.\.", text)] == []
    assert [text for text in texts if text.count("«") != text.count("»")] == []


def test_zero_is_singular_in_french_and_plural_in_english() -> None:
    singular, plural = "{count} machine", "{count} machines"
    assert [translations("fr").ngettext(singular, plural, count) for count in (0, 1, 2)] == [singular, singular, plural]
    assert [translations("en").ngettext(singular, plural, count) for count in (0, 1, 2)] == [plural, singular, plural]


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "fr"),
        ({"LANG": "C.UTF-8"}, "fr"),
        ({"LANG": "en_GB.UTF-8"}, "en"),
        ({"LANG": "fr_FR.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LABCTL_LANG": "fr"}, "fr"),
        ({"LANG": "de_DE.UTF-8"}, "fr"),
        ({"LABCTL_LANG": "", "LANG": "en_US.UTF-8"}, "en"),
    ],
)
def test_the_language_follows_labctl_lang_then_the_locale(environment: dict[str, str], language: str) -> None:
    assert choose_language(environment) == language


def marked() -> Iterator[tuple[str, ast.expr]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS:
                for argument in node.args[: MARKS[node.func.id]]:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", argument


def test_a_sentence_is_filled_in_after_it_is_translated() -> None:
    """`_(f"…")` and `_("…".format())` look for a sentence that no catalogue can hold."""
    wrong = [where for where, argument in marked() if isinstance(argument, ast.JoinedStr | ast.BinOp | ast.Call)]
    assert wrong == []
    assert sum(isinstance(argument, ast.Constant) for _where, argument in marked()) > 100
