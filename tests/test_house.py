"""The house rules, as tests: linters, types, import contracts, sizes, names, documents, and what no file may hold."""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "labctl"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BIN = Path(sys.executable).parent
LONGEST_FUNCTION, LONGEST_MODULE = 60, 400  # lines
VAGUE = re.compile(r"(^|_)(utils?|helpers?|managers?|common|base|misc)($|_)")

# Each guide in English and French. The pages for those who change the code are in English only.
GUIDES = {
    "topology.md": "topology.md",
    "exam.md": "examen.md",
    "trainer.md": "formateur.md",
    "student.md": "etudiant.md",
    "proctor.md": "surveillant.md",
    "evidence.md": "preuves.md",
    "windows.md": "windows.md",
    "appliances.md": "appliances.md",
}
FOR_DEVELOPERS = {"structure.md", "benchmarks.md"}

LINTERS = {
    "ruff check": [BIN / "ruff", "check", "--output-format=concise", "--quiet"],
    "ruff format": [BIN / "ruff", "format", "--check", "--quiet"],
    "mypy --strict": [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"],
    "import contracts": [BIN / "lint-imports"],
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


SLOW = {"mypy --strict": pytest.mark.slow}  # without its cache: a minute of a processor


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=name, marks=SLOW.get(name, ())) for name, command in LINTERS.items()]
)
def test_a_linter_finds_nothing(command: list[Path | str]) -> None:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{Path(str(command[0])).name} ended with {done.returncode}\n{done.stdout}{done.stderr}", False)


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_no_function_is_longer_than_a_screen() -> None:
    sizes = {
        f"{name_of(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        for node in functions(path)
    }
    assert len(sizes) > 300
    assert {where: size for where, size in sizes.items() if size > LONGEST_FUNCTION} == {}


def test_no_module_is_too_long_to_be_read() -> None:
    sizes = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in [*MODULES, *TESTS]}
    assert {where: size for where, size in sizes.items() if size > LONGEST_MODULE} == {}


def test_every_module_says_in_a_sentence_what_it_does() -> None:
    """Packages hold no logic, and so need no words."""
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in MODULES}
    silent = [name_of(path) for path, text in docstrings.items() if path.name != "__init__.py" and not text]
    assert silent == []
    assert [name_of(path) for path, text in docstrings.items() if text and ". " in text.splitlines()[0]] == []


def test_packages_hold_no_logic() -> None:
    packages = [path for path in MODULES if path.name == "__init__.py"]
    lines = {path: ast.parse(path.read_text(encoding="utf-8")).body for path in packages}
    assert [name_of(path) for path, body in lines.items() if any(not is_constant(line) for line in body)] == []


def is_constant(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr | ast.Assign) and isinstance(line.value, ast.Constant)


def test_modules_are_named_by_what_they_are_about() -> None:
    paths = [path.relative_to(ROOT) for path in [*MODULES, *TESTS]]
    assert [str(path) for path in paths if any(VAGUE.search(part) for part in path.with_suffix("").parts)] == []


LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)|<(?:img|a)\s[^>]*(?:src|href)=\"([^\"]+)\"")


def links(document: Path) -> list[str]:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [found[0] or found[1] for found in LINK.findall(text)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    relative = [target for target in links(document) if not urlsplit(target).scheme]
    missing = []
    for target in relative:
        path, _hash, anchor = target.partition("#")
        found = document.parent / path if path else document
        if not found.exists() or (anchor and anchor not in anchors(found)):
            missing.append(target)
    assert missing == []


def anchors(document: Path) -> set[str]:
    """Return the names that headings get on a forge: small letters, no punctuation, dashes."""
    titles = [title for _level, title in headings(document)]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def headings(document: Path) -> list[tuple[int, str]]:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [(len(found[1]), found[2]) for found in re.finditer(r"^(#+) (.*)$", text, re.MULTILINE)]


def test_every_guide_is_in_both_languages() -> None:
    english = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert english == GUIDES.keys() | FOR_DEVELOPERS
    assert {path.name for path in (ROOT / "docs" / "fr").glob("*.md")} == set(GUIDES.values())


@pytest.mark.parametrize(("english", "french"), GUIDES.items())
def test_a_guide_says_the_same_in_both_languages(english: str, french: str) -> None:
    """As far as a machine can tell: the same parts in the same order, the same number of rows and examples."""
    pages = [ROOT / "docs" / english, ROOT / "docs" / "fr" / french]
    levels = [[level for level, _title in headings(page)] for page in pages]
    assert levels[0] == levels[1]
    marks = [re.findall(r"^(\||```|- )", page.read_text(encoding="utf-8"), re.MULTILINE) for page in pages]
    assert marks[0] == marks[1]


@cache
def tracked() -> tuple[Path, ...]:
    """Return the files of the repository; in a copy without one, all files that are not hidden."""
    if not (ROOT / ".git").exists():
        return tuple(path for path in ROOT.rglob("*") if path.is_file() and not hidden(path))
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def hidden(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part.startswith(".") or part in {"build", "dist", "__pycache__"} for part in parts)


def holding(pattern: re.Pattern[bytes]) -> list[str]:
    return [name_of(path) for path in tracked() if pattern.search(path.read_bytes())]


def test_no_file_holds_a_path_of_a_machine_it_was_written_on() -> None:
    top = ROOT.parts[1]
    usual = {"home", "opt", "root", "srv", "tmp", "usr", "var"}  # these are on every machine, and in true examples
    names = {f"/{'work'}/", f"{ROOT}/"} | ({f"/{top}/"} - {f"/{name}/" for name in usual})
    assert holding(re.compile(b"(?<![\\w.-])(" + b"|".join(re.escape(name).encode() for name in names) + b")")) == []


def said(*command: str) -> str:
    """Return what a program of the host prints, nothing where the host has no such program."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False).stdout


def registries() -> set[str]:
    """Return the hosts that this machine takes packages from: they are its own affair, and no file's."""
    settings = [
        said("apt-get", "indextargets", "--format", "$(REPO_URI)"),
        said("apt-config", "dump", "Acquire"),
        said(sys.executable, "-m", "pip", "config", "list"),
        said("npm", "config", "get", "registry"),
        *(value for name, value in os.environ.items() if name.upper().startswith(("PIP_", "UV_", "NPM_CONFIG_"))),
    ]
    hosts = {urlsplit(uri).hostname or "" for text in settings for uri in re.findall(r"\w+://[^\s'\"|;,]+", text)}
    return {host for host in hosts if re.search("[a-z]", host) and "." in host}


def test_no_file_names_a_registry_of_packages() -> None:
    hosts = registries()
    pattern = b"|".join(re.escape(host).encode() for host in sorted(hosts))
    found = holding(re.compile(b"(?<![\\w.-])(" + pattern + b")(?![\\w-])")) if hosts else []
    assert found == []
