"""Two real network links of this host that are joined to each other."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def joined_links(one: str, other: str) -> Iterator[None]:
    """Make two links, each the other's end; skip the test where that is not allowed."""
    made = subprocess.run(["ip", "link", "add", one, "type", "veth", "peer", "name", other], check=False)
    if made.returncode:
        pytest.skip("only root may make links")
    try:
        for link in (one, other):
            subprocess.run(["ip", "link", "set", link, "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "link", "del", one], check=True)
