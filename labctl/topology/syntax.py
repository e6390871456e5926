"""The YAML parser's errors to sentences for people who are not parsers."""

from collections.abc import Sequence

from ruamel.yaml.error import MarkedYAMLError, YAMLError

from labctl.language import N_, _
from labctl.topology.problems import Finding, Mark

# What the parser says (the start of it) → what the author should have written, and what stands there.
SENTENCES = (
    ("found character '\\t'", N_("spaces before the key"), N_("a tab")),
    ("found a tab", N_("spaces before the key"), N_("a tab")),
    ("found character '%'", N_("a text in quotes"), N_("a text that starts with %")),
    ("found character '@'", N_("a text in quotes"), N_("a text that starts with @")),
    ("found character '`'", N_("a text in quotes"), N_("a text that starts with a backquote")),
    ("could not find expected ':'", N_('a colon and a space after the key: "key: value"'), N_("no colon")),
    ("expected <block end>", N_("lines of one mapping or list to start in one column"), N_("another indentation")),
    ("expected ',' or ']'", N_('"," or "]" in the list'), N_("something else; it opens in line {line}")),
    ("expected ',' or '}'", N_('"," or "}" in the mapping'), N_("something else; it opens in line {line}")),
    ("found unexpected end of stream", N_("a closing quote"), N_("the end of the file")),
    ("found unknown escape character", N_("an escape that YAML knows, or single quotes"), N_("another one")),
    ("expected escape sequence", N_("hexadecimal digits after the escape"), N_("something else")),
    ("sequence entries are not allowed", N_("the list on lines of its own"), N_('a "-" here')),
    ("expected the node content", N_("a value"), N_("nothing, or a sign that needs quotes")),
    ("expected <document start>", N_("one mapping at the left edge"), N_("something else beside it")),
    ("found duplicate YAML directive", N_("no directives"), N_("a directive")),
    ("found incompatible YAML document", N_("YAML 1.2"), N_("another version")),
    ("found unsupported YAML version", N_("YAML 1.2"), N_("another version")),
)


def explain_syntax(error: YAMLError, lines: Sequence[str]) -> tuple[Mark, Finding]:
    """Return where the syntax breaks and what to write there. `lines` are those of the file."""
    mark = Mark(1, 1)
    said = ""
    opened = 1
    if isinstance(error, MarkedYAMLError):
        open_quote = error.problem == "found unexpected end of stream"
        place = (not open_quote and error.problem_mark) or error.context_mark
        mark = Mark(place.line + 1, place.column + 1) if place else mark
        opened = error.context_mark.line + 1 if error.context_mark else mark.line
        said = error.problem or error.context or ""
    if said.startswith("mapping values are not allowed"):
        return mark, Finding((), *explain_colon(lines[mark.line - 1][: mark.column - 1] if lines else ""))
    for start, expected, found in SENTENCES:
        if said.startswith(start):
            return mark, Finding((), _(expected), _(found).replace("{line}", str(opened)))
    return mark, Finding((), _("YAML that can be read"), _("a syntax error"))


def explain_colon(before: str) -> tuple[str, str]:
    """Return what was expected and found at a colon that opens no value; `before` is the line up to it."""
    if ": " in before:
        return _("one key on a line"), _("a second colon; quote a text that has one")
    return _("a key in the column of its neighbours"), _("another indentation, or no colon in the line above")
