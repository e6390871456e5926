"""What others wrote to what a page may hold: the Markdown of an énoncé, and a drawing."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labctl.portal.drawing import show_drawing
from labctl.portal.markdown import TAGS, render_markdown
from labctl.worker.answers import Drawing, NodeLine
from tests.portal.fake_worker import NODES, STATEMENT, draw
from tests.portal.test_pages import tags


def test_an_enonce_keeps_its_text_and_loses_its_html() -> None:
    html = render_markdown(STATEMENT)
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert "&lt;b&gt;Les Cimes" in html
    assert "javascript:" not in html.replace("(javascript:alert(1))", "")
    assert 'href="https://www.cimes.example/" rel="noopener noreferrer"' in html
    assert "<h2>Mettre un site en DMZ</h2>" in html
    assert '<div class="wide" tabindex="0"' in html or 'class="wide"' in html
    assert '<pre tabindex="0"><code>nft list ruleset' in html


@given(st.text(alphabet="<>\"'&`[]()!#|-\n ajscriptonerror=:/", max_size=80))
def test_no_text_makes_a_tag_that_is_not_allowed(source: str) -> None:
    for tag, attributes in tags(render_markdown(source)):
        assert tag in TAGS
        assert not [key for key in attributes if key.startswith("on")]
        assert not (attributes.get("href") or "").startswith("javascript:")


def test_a_drawing_keeps_its_shapes_and_loses_the_rest() -> None:
    nodes = {"web": NodeLine(node="web", state="crashed", words="plantée")}
    shown = show_drawing(Drawing(svg=draw(NODES), text="", nodes=NODES), nodes)
    assert shown is not None
    root = ET.fromstring(str(shown))
    kinds = {element.tag for element in root.iter()}
    assert kinds == {"svg", "g", "path", "polygon", "text", "a"}
    for element in root.iter():
        assert not {"style", "fill", "stroke", "onclick", "font-family"} & set(element.attrib)
    links = {link.get("href"): link for link in root.iter("a")}
    assert set(links) == {f"#machine-{name}" for name in NODES}
    assert links["#machine-web"].get("class") == "node bad"
    assert links["#machine-web"].get("aria-label") == "web debian-13, plantée"
    assert "white" not in str(shown)


@pytest.mark.parametrize(
    "svg",
    [
        "", "no xml", "<html/>", '<svg xmlns="http://www.w3.org/2000/svg"/>',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 x"/>',
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>', "<" * (1 << 20),
    ],
)  # fmt: skip
def test_a_drawing_that_cannot_be_read_is_none(svg: str) -> None:
    assert show_drawing(Drawing(svg=svg, text=""), {}) is None
