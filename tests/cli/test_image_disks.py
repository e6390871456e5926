"""`labctl image import --disk`: empty disks told on the command line, beside those of a recipe."""

import pytest
from click.testing import CliRunner

from labctl.cli.images import import_, read_disks
from labctl.errors import ExitCode


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABCTL_LANG", "en")


@pytest.mark.parametrize(
    "word",
    ["data", "data=", "=20", "data=0", "data=2049", "data=99999", "Data=20", "data=20G", "d" * 21 + "=1", "a=1\n"],
)
def test_a_word_that_is_no_disk_is_refused_with_an_example(word: str) -> None:
    done = CliRunner().invoke(import_, [__file__, "--name", "nas", "--disk", word])
    assert done.exit_code == ExitCode.USAGE
    assert "such as data=20" in done.output


def test_disks_are_read_by_name() -> None:
    assert read_disks(["data=20", "log=1", "data=2048"]) == {"data": 2048, "log": 1}


def test_no_more_disks_than_a_machine_takes() -> None:
    words = [word for number in range(7) for word in ("--disk", f"d{number}=1")]
    done = CliRunner().invoke(import_, [__file__, "--name", "nas", "--recipe", "truenas", *words])
    assert done.exit_code == ExitCode.USAGE
    assert "at most 8 disks" in done.output
