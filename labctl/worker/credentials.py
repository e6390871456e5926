"""Passwords and one-time codes to what may be stored of them, and back to yes or no: argon2id, secrets, a few rules."""

import secrets
import unicodedata
from threading import BoundedSemaphore

import argon2

from labctl.language import _

# Without letters and digits that are taken for one another on paper
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 8  # 39 bits; five wrong ones in a row make wait
SHORTEST = 10
HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 << 10, parallelism=1)  # 19 MiB: OWASP's least for argon2id
AT_ONCE = BoundedSemaphore(2)  # a class that logs in at one moment takes 38 MiB, not 456


def draw_code() -> str:
    """Return a new one-time code as it is printed, such as ``K7QF-2MXP``."""
    letters = "".join(secrets.choice(ALPHABET) for _place in range(CODE_LENGTH))
    return f"{letters[:4]}-{letters[4:]}"


def plain_code(typed: str) -> str:
    """Return a code as it is compared: without blanks, dashes and small letters."""
    return "".join(letter for letter in typed.upper() if letter.isalnum())


def plain_password(typed: str) -> str:
    """Return a password as it is compared: the same letters may come composed or not, from another keyboard."""
    return unicodedata.normalize("NFC", typed)


def hash_secret(secret: str) -> str:
    """Return what may be stored of a secret."""
    with AT_ONCE:
        return HASHER.hash(secret)


NOBODY = HASHER.hash(secrets.token_hex(16))  # an unknown name takes as long as a known one


def is_secret(stored: str, secret: str) -> bool:
    """Return whether a secret is the stored one; without a stored one this takes as long, and it never is."""
    try:
        with AT_ONCE:
            return HASHER.verify(stored or NOBODY, secret) and bool(stored)
    except argon2.exceptions.VerificationError:
        return False


def refuse_password(password: str, name: str) -> str:
    """Return why a password cannot be chosen, "" for a good one. Length counts, not kinds of letters."""
    plain = plain_password(password)
    if len(plain) < SHORTEST:
        return _("choose a password of {count} letters or more").format(count=SHORTEST)
    if len(plain) > 200:  # noqa: PLR2004  hashing a book takes time
        return _("this password is too long")
    lowered = plain.casefold()
    if name and name in lowered.replace(" ", "-") and len(plain) < len(name) + SHORTEST:
        return _("choose a password that does not hold your name")
    if len(set(lowered)) < 5 or lowered in "01234567890123456789 azertyuiopqsdfghjklm qwertyuiopasdfghjkl":  # noqa: PLR2004
        return _("choose a password that is harder to guess")
    return ""
