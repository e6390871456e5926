"""Every command that a document or a hint tells people to type exists, with its options."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from labctl.cli.main import VERBS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"(?:^|[\s`(/])labctl ((?:[a-z]+)(?: [^`|;&\n#()·]*)?)")


def verbs_of(name: str) -> click.Command:
    module, _colon, attribute = VERBS[name][0].partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def explain_wrong(words: list[str]) -> str:
    """Return what is wrong with a command, empty if it exists."""
    if words[0] not in VERBS:
        return f"no verb {words[0]}"
    command = verbs_of(words[0])
    if isinstance(command, click.Group) and len(words) > 1:
        found = command.get_command(click.Context(command), words[1])  # some are imported when they run
        if found is None:
            return f"no verb {words[0]} {words[1]}"
        command = found
    known = {"--help", "-h", *(name for parameter in command.params for name in parameter.opts)}
    ours = words[: words.index("--")] if "--" in words else words
    unknown = [word for word in ours if word.startswith("-") and word.partition("=")[0] not in known]
    return f"{words[0]} has no option {unknown[0]}" if unknown else ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_commands_of_a_document_exist(document: Path) -> None:
    code = re.findall(r"```(?:console|sh|bash)\n(.*?)```|`([^`\n]+)`", document.read_text(encoding="utf-8"), re.DOTALL)
    commands = [found for block in code for found in COMMAND.findall("\n".join(block))]
    wrong = {command: why for command in commands if (why := explain_wrong(command.split()))}
    assert wrong == {}


def test_the_modules_that_the_structure_names_exist() -> None:
    """A module is named from the package or from the project's root, as `lab/up.py`, a room as `lab/`."""
    text = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`((?:\w+/)+(?:\w+\.py)?|\w+\.py)`", "\n".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))
    )
    assert len(named) > 50
    assert [name for name in sorted(named) if not (ROOT / "labctl" / name).exists()] == []


def hints() -> Iterator[tuple[str, str]]:
    """Yield the constant beginnings of what the source tells people to type."""
    for path in sorted((ROOT / "labctl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                yield f"{path.name}:{node.value.lineno}", words_of(node.value)


def words_of(node: ast.expr) -> str:
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        case ast.BoolOp():
            return words_of(node.values[-1])
    return ""


def test_the_commands_of_hints_exist() -> None:
    found = [(where, command) for where, hint in hints() for command in COMMAND.findall(hint)]
    assert len(found) > 20
    wrong = {where: f"{command}: {why}" for where, command in found if (why := explain_wrong(command.split()))}
    assert wrong == {}
