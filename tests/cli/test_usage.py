"""Help, languages, wrong usage, colour and speed of the installed command."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl.cli.main import VERBS
from tests.cli.conftest import Installation
from tests.processes import LABCTL

HEAVY = ("libvirt", "paramiko", "pydantic", "ansible_runner", "rich", "ruamel", "jinja2", "cryptography", "weasyprint")


def test_the_version(labctl: Installation) -> None:
    done = labctl.run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"labctl \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS), ("image", "build"), ("image", "rm")], ids="-".join)
def test_help_is_whole_in_french_and_english(labctl: Installation, verb: tuple[str, ...]) -> None:
    pages = {language: labctl.run(*verb, "--help", LABCTL_LANG=language) for language in ("fr", "en")}
    assert {page.returncode for page in pages.values()} == {0}
    assert pages["en"].stdout.startswith("Usage: labctl")
    assert pages["fr"].stdout.startswith("Utilisation\N{NO-BREAK SPACE}: labctl")
    assert "Options\N{NO-BREAK SPACE}:" in pages["fr"].stdout
    assert "Show this message" not in pages["fr"].stdout
    summaries = [page.stdout.splitlines()[2:5] for page in pages.values()]
    assert summaries[0] != summaries[1]


def test_every_verb_is_in_the_help_with_the_help_of_its_own(labctl: Installation) -> None:
    shown = labctl.run("--help").stdout
    assert [verb for verb in VERBS if not re.search(rf"^  {verb} +\w", shown, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"LABCTL_LANG": "", "LC_ALL": "fr_FR.UTF-8"}, "Utilisation"),
        ({"LABCTL_LANG": "", "LC_ALL": "en_US.UTF-8"}, "Usage"),
        ({"LABCTL_LANG": "", "LC_ALL": "C"}, "Utilisation"),
        ({"LABCTL_LANG": "en", "LC_ALL": "fr_FR.UTF-8", "LANGUAGE": "fr"}, "Usage"),
        ({"LABCTL_LANG": "fr", "LC_ALL": "en_US.UTF-8", "LANGUAGE": "en"}, "Utilisation"),
    ],
)
def test_one_language_for_all_that_is_said(labctl: Installation, settings: dict[str, str], word: str) -> None:
    assert labctl.run("--help", **settings).stdout.startswith(word)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("valdate",), "No such command 'valdate'. Did you mean 'validate'?"),
        (("image", "biuld"), "No such command 'biuld'. Did you mean 'build'?"),
        (("up", "dmz", "--studnet", "a"), "No such option '--studnet'. Did you mean '--student'?"),
        (("up",), "Missing argument 'TOPOLOGY'."),
        (("check",), "name labs, or say --class, --student or --topology"),
        (("down",), "name labs, or say --class, --student or --topology"),
        (("completion", "tcsh"), "'tcsh' is not one of 'bash', 'zsh', 'fish'."),
        (("configure", "a", "b"), "Got unexpected extra argument (b)"),
        (("up", "dmz", "--student", "Zoé"), '"Zoé" is not an owner'),
        (("up", "dmz", "--student", ","), "at least one owner is needed"),
        (("x" * 300,), f"No such command '{'x' * 40}…'."),
        (("two\nlines\x1b[2J",), "No such command 'two?lines?[2J'."),
    ],
)
def test_wrong_usage_is_told_on_stderr_with_code_2(labctl: Installation, words: tuple[str, ...], said: str) -> None:
    done = labctl.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "--help" in done.stderr


def test_wrong_usage_in_french(labctl: Installation) -> None:
    done = labctl.run("valdate", LABCTL_LANG="fr")
    assert done.returncode == 2
    assert "La commande 'valdate' n'existe pas. Vouliez-vous dire 'validate'\N{NO-BREAK SPACE}?" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(labctl: Installation, shell: str) -> None:
    done = labctl.run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_LABCTL_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("labctl val", "validate"),
        ("labctl up d", "dmz"),
        ("labctl check f", "first-alice"),
        ("labctl plan dmz --se", "--session"),
    ],
)
def test_completion_knows_verbs_topologies_and_labs(labctl: Installation, typed: str, expected: str) -> None:
    folder = labctl.home / "labctl" / "labs" / "first-alice"
    folder.mkdir(parents=True)
    (folder / "topology.yml").touch()
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_LABCTL_COMPLETE": "bash_complete"}
    assert f"plain,{expected}" in labctl.run(**words).stdout.splitlines()


def on_a_terminal(labctl: Installation, settings: dict[str, str]) -> bytes:
    """Return what a person sees of an error on a terminal."""
    ours, theirs = pty.openpty()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(labctl.home), "LABCTL_HOME": str(labctl.home / "labctl"),
        "LABCTL_URI": "test:///default", "LABCTL_LANG": "en", "TERM": "xterm-256color", **settings,
    }  # fmt: skip
    with subprocess.Popen([LABCTL, "check", "nothing"], env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        seen = b""
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # Linux says EIO when the last process has closed the terminal
                break
            if not more:
                break
            seen += more
    os.close(ours)
    return seen


@pytest.mark.parametrize(
    ("settings", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)], ids=str
)
def test_colour_only_where_it_is_wanted(labctl: Installation, settings: dict[str, str], coloured: bool) -> None:
    seen = on_a_terminal(labctl, settings)
    assert b"there is no lab" in seen
    assert (b"\x1b[" in seen) is coloured


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["up", "--nothing"]])
def test_what_answers_at_once_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    """`up --nothing` imports its verb; help, the version and completion of verbs do not."""
    program = (
        "import sys\nfrom labctl.cli.main import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"LABCTL_LANG": "en"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "click" in loaded
    if words[0].startswith("--"):
        assert loaded.isdisjoint(HEAVY)
    else:
        assert "pydantic" in loaded  # the test sees what is imported


def test_help_answers_at_once(labctl: Installation) -> None:
    """The benchmark measures it; this only sees that nobody has made it slow. The best of five counts."""

    def seconds() -> float:
        start = time.perf_counter()
        labctl.begin("--help")
        return time.perf_counter() - start

    assert min(seconds() for _number in range(5)) < 0.4


def test_a_pipe_that_closes_early_is_no_error(labctl: Installation) -> None:
    settings = {"LABCTL_LANG": "en", "PATH": os.environ["PATH"], "HOME": str(labctl.home)}
    with subprocess.Popen([LABCTL, "schema"], env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_nobody_is_called_like_a_spare(labctl: Installation, tmp_path: Path) -> None:
    roster = tmp_path / "class.csv"
    roster.write_text("id\nalice\nSpare 3\n")
    for words in (("--student", "bob,spare-1"), ("--class", str(roster))):
        done = labctl.run("up", "dmz", *words)
        assert done.returncode == 2
        assert re.search(r"spare-\d", done.stderr)
