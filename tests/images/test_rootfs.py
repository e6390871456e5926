import tarfile
from pathlib import Path

from labctl.images.contents import EXECUTABLE, FILES
from labctl.images.disk import GIB, MIB, Content, choose_size
from labctl.images.rootfs import watch_phases, write_overlay


def test_labctls_own_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_overlay(tmp_path / "a.tar")
    write_overlay(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert set(FILES) <= set(tar.getnames())
        assert {member.name for member in tar if member.isfile() and member.mode & 0o111} == EXECUTABLE
        assert not [member.name for member in tar if member.name.startswith(("lib/", "bin/", "sbin/"))]


def test_progress_never_goes_back_and_ends_below_one() -> None:
    told: list[float] = []
    line_seen = watch_phases(lambda fraction, _detail: told.append(fraction))
    lines = ["I: running apt-get update...", "I: downloading packages with apt...", "I: extracting archives..."]
    lines += ["0 upgraded, 3 newly installed, 0 to remove and 0 not upgraded."]
    lines += [f"Setting up p{number} (1.0) ..." for number in range(40)]
    for line in lines:
        line_seen(line)
    assert told == sorted(told)
    assert len(told) == 43
    assert 0.9 < told[-1] < 1


def test_a_disk_is_whole_gib_with_room_to_boot() -> None:
    assert choose_size(Content(400 * MIB, 20000)) == GIB
    assert choose_size(Content(800 * MIB, 20000)) == 2 * GIB
