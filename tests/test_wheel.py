"""A wheel is labctl whole: installed elsewhere, it finds its playbooks, topologies, texts and templates."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TOP = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the wheel holds, away from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in tracked.split("\0"):
        path = TOP / name
        if name and path.is_file() and not name.startswith("tests/"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(path.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--wheel-dir", folder, source],
        check=True,
    )  # fmt: skip
    (wheel,) = folder.glob("labctl-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def labctl(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = "from labctl.cli.main import main; import labctl, sys; print(labctl.__file__, file=sys.stderr); main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words], cwd=site.parent, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(site), "LABCTL_LANG": "fr"},
    )  # fmt: skip


def test_the_wheel_validates_a_shipped_lab_by_name_in_french(installed: Path) -> None:
    done = labctl(installed, "validate", "dmz")
    assert done.returncode == 0, done.stderr
    assert str(installed) in done.stderr, "the checkout was used instead of the wheel"
    assert str(installed / "labctl" / "topologies" / "dmz.yml") in done.stdout
    assert "valide" in done.stdout


def test_the_wheel_carries_every_file_that_the_program_reads(installed: Path) -> None:
    for folder, target in (
        ("playbooks", "labctl/playbooks"),
        ("topologies", "labctl/topologies"),
        ("exams", "labctl/exams"),
        ("labctl", "labctl"),
    ):
        listed = subprocess.run(["git", "ls-files", folder], cwd=TOP, capture_output=True, text=True, check=True)
        names = [name for name in listed.stdout.splitlines() if not name.endswith(".po") and (TOP / name).is_file()]
        assert names
        missing = [name for name in names if not (installed / target / Path(name).relative_to(folder)).exists()]
        assert missing == []
