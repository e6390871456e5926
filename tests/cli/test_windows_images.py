"""What `labctl image build windows-…` says to wrong requests, before anything is made."""

from pathlib import Path

import click
import pytest

from labctl.cli.images import build
from labctl.cli.windows import make_request, read_key
from labctl.errors import ExitCode, InvalidFile
from labctl.images.recipe import RECIPES, MediaRecipe

KEY = "AAAAA-11111-BBBBB-22222-CCCCC"


def recipe() -> MediaRecipe:
    found = RECIPES["windows-2022"]
    assert isinstance(found, MediaRecipe)
    return found


@pytest.mark.parametrize("discs", [(None, None), (Path("w.iso"), None), (None, Path("v.iso"))])
def test_both_discs_are_needed(discs: tuple[Path | None, Path | None]) -> None:
    with pytest.raises(InvalidFile, match="Windows Server 2022 is made from two discs") as caught:
        make_request(recipe(), discs, "", None, None)
    assert caught.value.exit_code is ExitCode.INVALID
    assert caught.value.hint == "labctl image build windows-2022 --iso FILE --virtio-win FILE"


def test_a_version_whose_openssh_is_too_old_wants_a_newer_one() -> None:
    old = RECIPES["windows-2019"]
    assert isinstance(old, MediaRecipe)
    discs = (Path("w.iso"), Path("v.iso"))
    with pytest.raises(InvalidFile, match="Windows Server 2019 has an OpenSSH that is too old for Ansible") as caught:
        make_request(old, discs, "", None, None)
    assert caught.value.hint == "labctl image build windows-2019 --iso FILE --virtio-win FILE --openssh FILE"
    assert make_request(old, discs, "", None, Path("openssh.msi")).openssh == Path("openssh.msi")


@pytest.mark.parametrize(
    "words",
    [["debian-13", "--virtio-win", "v.iso"], ["debian-13", "--edition", "x"], ["windows-2022", "--package", "nginx"]],
)
def test_options_of_the_other_kind_are_refused(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        build.main(words, standalone_mode=False)


def test_a_product_key_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f" {KEY.lower()}\n")
    assert read_key(file) == KEY
    assert make_request(recipe(), (Path("w.iso"), Path("v.iso")), "", file, None).product_key == KEY
    file.write_bytes(b"\xff\xfe not a key")
    with pytest.raises(InvalidFile, match="holds no product key"):
        read_key(file)
