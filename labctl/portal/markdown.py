"""The Markdown of an énoncé to HTML that holds nothing but text: no HTML of its own, no picture, no script."""

from collections.abc import Sequence
from functools import cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.token import Token

from labctl.language import _

LONGEST = 200_000  # characters
DEEPEST = 6
TAGS = {
    "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "s",
    "a", "table", "thead", "tbody", "tr", "th", "td", "div",
}  # fmt: skip
ATTRIBUTES = {"a": {"href"}, "ol": {"start"}, "pre": {"tabindex"}, "div": {"class", "tabindex", "role", "aria-label"}}


@cache
def parser() -> MarkdownIt:
    """Return the parser; HTML in the source is shown as it is written, and pictures stay links to nowhere."""
    made = MarkdownIt("js-default", {"linkify": False}).disable("image")
    made.add_render_rule("table_open", open_table)
    made.add_render_rule("table_close", close_table)
    for kind in ("fence", "code_block"):
        made.add_render_rule(kind, show_code)
    return made


def open_table(*_place: object) -> str:
    """Begin a table in a place of its own, which can be scrolled with the keyboard."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{_("Table")}"><table>\n'


def close_table(*_place: object) -> str:
    """End a table."""
    return "</table></div>\n"


def show_code(_renderer: object, tokens: Sequence[Token], index: int, *_place: object) -> str:
    """Return lines of code, which can be scrolled with the keyboard."""
    return f'<pre tabindex="0"><code>{escapeHtml(tokens[index].content)}</code></pre>\n'


def render_markdown(source: str) -> str:
    """Return the HTML of a text. Its headings begin at the second level: the first is the page's own."""
    tokens = parser().parse(source[:LONGEST])
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(DEEPEST, int(token.tag[1:]) + 1)}"
    html = parser().renderer.render(tokens, parser().options, {})
    return nh3.clean(
        html, tags=TAGS, attributes=ATTRIBUTES, url_schemes={"http", "https", "mailto"}, link_rel="noopener noreferrer"
    )
