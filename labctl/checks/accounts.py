"""Accounts of Windows as topologies name them: those that Windows itself makes have another name in each language."""

from collections.abc import Mapping

# "Well-known SIDs" of Microsoft's documentation; the names are the English ones without their domain.
WELL_KNOWN = {
    "everyone": "S-1-1-0",
    "creator owner": "S-1-3-0",
    "authenticated users": "S-1-5-11",
    "system": "S-1-5-18",
    "administrators": "S-1-5-32-544",
    "users": "S-1-5-32-545",
    "backup operators": "S-1-5-32-551",
}
DOMAIN_NUMBERS = {"administrator": "500", "domain admins": "512", "domain users": "513", "domain computers": "515"}
ALWAYS = ("system", "administrators", "creator owner")  # who may have a right beside those that a list names


def is_account(wanted: str, found: Mapping[str, str]) -> bool:
    """Return whether an account, as `{name, sid}`, is the one that is named, with or without its domain."""
    name = wanted.rpartition("\\")[2].lower()
    sid = found["sid"]
    if name in WELL_KNOWN:
        return sid == WELL_KNOWN[name]
    if name in DOMAIN_NUMBERS:
        return sid.startswith("S-1-5-21-") and sid.rpartition("-")[2] == DOMAIN_NUMBERS[name]
    full = found["name"].lower()
    return wanted.lower() in {full, full.rpartition("\\")[2], sid.lower()}


def is_always_there(found: Mapping[str, str]) -> bool:
    """Return whether an account is one that Windows itself gives rights to."""
    return any(is_account(name, found) for name in ALWAYS)
