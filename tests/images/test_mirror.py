from pathlib import Path

import pytest

from labctl.errors import HostNotReady
from labctl.images.mirror import Source, choose_sources, find_sources, render_sources

DEBIAN = [
    "https://packages.vendor.example/apt/|any|Vendor|Vendor",
    "http://mirror.school.example/debian/|bookworm-backports|Debian|Debian Backports",
    "http://mirror.school.example/debian/|bookworm|Debian|Debian",
    "http://mirror.school.example/security/|bookworm-security|Debian|Debian-Security",
]
UBUNTU = ["http://archive.ubuntu.example/ubuntu/|noble|Ubuntu|Ubuntu"]


def test_the_hosts_archive_serves_the_other_suite() -> None:
    assert choose_sources("trixie", DEBIAN) == (
        Source("http://mirror.school.example/debian/", "trixie"),
        Source("http://mirror.school.example/debian/", "trixie-updates"),
        Source("http://mirror.school.example/security/", "trixie-security"),
    )


def test_before_the_first_apt_update_the_origin_is_not_known_yet() -> None:
    lines = ["http://mirror.school.example/security/|bookworm-security||", "cdrom:[Debian]/|bookworm||"]
    assert [source.uri for source in choose_sources("bookworm", DEBIAN[2:3] + lines)] == [
        "http://mirror.school.example/debian/", "http://mirror.school.example/debian/",
        "http://mirror.school.example/security/",
    ]  # fmt: skip


# F-31
def test_a_host_without_debian_archive_is_told_to_name_a_mirror() -> None:
    with pytest.raises(HostNotReady) as caught:
        choose_sources("trixie", UBUNTU)
    assert "LABCTL_MIRROR" in caught.value.hint
    assert find_sources("trixie", "http://here.example/debian")[0] == Source("http://here.example/debian", "trixie")


def test_sources_name_the_keys_that_sign_them() -> None:
    text = render_sources(choose_sources("trixie", DEBIAN), Path("/usr/share/keyrings/some.gpg"))
    assert text.count("Signed-By: /usr/share/keyrings/some.gpg") == 3
    assert "Suites: trixie-security" in text
