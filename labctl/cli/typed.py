"""What a person typed to a short text that is safe to show again."""

LONGEST = 40  # characters: it fits a line of an error


def printable(text: str) -> str:
    """Return the text, cut, without what would move the cursor of a terminal."""
    short = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(letter if letter.isprintable() else "?" for letter in short)
