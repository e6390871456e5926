"""Orders two versions as dpkg does (Debian Policy, 5.6.12)."""

import re

# python-debian does this too, but it is under the GPL, and labctl is not.


def is_older(one: str, other: str) -> bool:
    """Return whether a version comes before another."""
    return parts(one) < parts(other)


def parts(version: str) -> tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]:
    """Return epoch, upstream version and revision in a form that compares as dpkg compares."""
    epoch, colon, rest = version.partition(":")
    if not (colon and epoch.isdigit()):
        epoch, rest = "0", version
    upstream, _dash, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return int(epoch), split(upstream), split(revision)


def split(text: str) -> list[tuple[list[int], int]]:
    """Return the runs of other characters, each followed by its number."""
    words = re.findall(r"(\D*)(\d*)", text)
    return [([*map(weight, word), 0], int(number or 0)) for word, number in words]


def weight(letter: str) -> int:
    """Return where a character sorts: a tilde before the end, letters before the rest."""
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256
