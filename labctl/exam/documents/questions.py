"""A candidate's exam to the questions of the *entretien d'explicitation*, with what is expected: for the jury alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from labctl.exam.documents.heading import Heading
from labctl.exam.documents.page import render, say
from labctl.exam.documents.person import Names, name_drawn
from labctl.exam.documents.words import pick_words
from labctl.exam.load import Paper
from labctl.report.sheet import title_of
from labctl.topology.variants import Value


@dataclass(frozen=True)
class ShownQuestion:
    """A question in one language, with the competency that it shows and its official title."""

    ask: str
    expected: str
    competency: str
    title: str


def render_questions(heading: Heading, paper: Paper, number: str, values: Mapping[str, Value], names: Names) -> str:
    """Return the page of one candidate; `paper` is read with the `values` that they have drawn."""
    language = heading.language
    return render(
        "questions.html.j2",
        heading,
        title=pick_words(language)["questions"].format(number=number),
        person=names.show(number),
        drawn=name_drawn(paper, values, language),
        subject=say(paper.exam.title, language),
        questions=[
            ShownQuestion(say(one.ask, language), say(one.expected, language), one.competency, title_of(one.competency))
            for one in paper.exam.questions
        ],
    )
