"""The reader's language: English message ids to the French or English that people see."""

import gettext
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

LOCALES = Path(__file__).parent / "locale"
LANGUAGES = ("fr", "en")
DEFAULT = "fr"  # the public is French; an unset or "C" locale says nothing about the reader
SPOKEN: ContextVar[str] = ContextVar("SPOKEN", default="")  # where one process serves several readers


def choose_language(environment: Mapping[str, str]) -> str:
    """Return "fr" or "en" from LABCTL_LANG, else the locale variables in the order of setlocale(3)."""
    for variable in ("LABCTL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = environment.get(variable, "").lower()[:2]
        if value in LANGUAGES:
            return value
    return DEFAULT


@cache
def translations(language: str) -> gettext.NullTranslations:
    """Return the catalogue of one language; English needs none, its message ids are the text."""
    if language == "en":
        return gettext.NullTranslations()
    return gettext.translation("labctl", localedir=LOCALES, languages=[language], fallback=True)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak to one reader inside the block, in this thread and in those of its crews."""
    before = SPOKEN.set(language if language in LANGUAGES else "")
    try:
        yield
    finally:
        SPOKEN.reset(before)


def current_language() -> str:
    """Return the language of the reader who is spoken to, else that of this process."""
    return SPOKEN.get() or choose_language(os.environ)


def _(message: str) -> str:
    """Translate one sentence. Fill its {names} with str.format after the call, never before."""
    return translations(current_language()).gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """Translate a sentence that counts `number` things."""
    return translations(current_language()).ngettext(singular, plural, number)


def decimal(number: float) -> str:
    """Return a number with one decimal, after a comma in French."""
    text = f"{number:.1f}"
    return text.replace(".", ",") if current_language() == "fr" else text


def N_(message: str) -> str:  # noqa: N802  the name that Babel extracts without being told
    """Mark a sentence for the catalogue where it stands as data; `_` translates it when it is shown."""
    return message
