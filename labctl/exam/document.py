"""The models of exams to docs/exam.md, the page on which trainers look up the keys of an exam file."""

from labctl.exam.model import Acceptance, Demand, Evidence, Exam, Phases, Question, Reset
from labctl.language import N_, _
from labctl.topology.document import model_table
from labctl.topology.values import Model

EXAMPLE = """\
# yaml-language-server: $schema=exam.schema.json
---
name: first-exam
version: "1.0"
title: {en: A page for the club, fr: Une page pour le club}
session: 2027
topology: dmz
competencies: [B2.2.5]
demand:
  context: {en: The server web has one site., fr: Le serveur web a un seul site.}
  work:
    - {en: Publish a second site by HTTP on port 7080., fr: Publier un second site en HTTP sur le port 7080.}
  results:
    - {en: The page opens from client., fr: La page s'ouvre depuis client.}
checks:
  - id: second-page
    title: {en: The second page opens, fr: La seconde page s'ouvre}
    from: client
    probe: {type: http, url: "http://192.168.50.80:7080/"}
    competency: B2.2.5
    pass: {en: It opens., fr: Elle s'ouvre.}
    fail: {en: It does not open., fr: Elle ne s'ouvre pas.}
recette:
  - {check: second-page}
  - {check: site-https}
"""
INTRODUCTION = (
    N_(
        "An exam file describes one practical exam: the topology that it is carried out on, what is asked of "
        "candidates, the times of its phases, and the checks of the *recette*. `labctl exam validate FILE` reads it "
        "and shows every problem with its line; `labctl exam plan FILE --candidates LIST` shows each candidate's times."
    ),
    N_("A complete small exam:"),
)
RULES = (
    N_("The rules for the text of a topology hold here too: one YAML 1.2 document, no anchors, no keys given twice."),
    N_("A check of the exam itself fails at the start, and one of the topology passes, unless `start` says otherwise."),
    N_("At least one check of the recette fails at the start; every check of the exam is named by the recette."),
    N_(
        "`${variant.NAME}` stands for a value of the topology or of the exam that differs from one candidate to the "
        "next: in the demand, in checks, in questions and in the title. The variants of both are drawn together."
    ),
    N_("Checks and variants are written as in a topology; faults are drawn by the topology's own."),
)
SECTIONS: tuple[tuple[str, type[Model]], ...] = (
    (N_("The exam"), Exam),
    (N_("The demand"), Demand),
    (N_("The phases"), Phases),
    (N_("A check of the recette"), Acceptance),
    (N_("Resets by candidates"), Reset),
    (N_("A question for the jury"), Question),
    (N_("What is kept"), Evidence),
)
COLUMNS = (
    N_("`number`: the candidate's number; the only column that must be there"),
    N_("`name`: for documents of the jury; it is kept apart and never reaches a machine"),
    N_("`time_factor`: 1 by default; 4/3 or 1.33 gives a third more in each phase"),
    N_("`preparation`, `interview`, `practical`, `recette`: own minutes for a phase, in the place of the factor"),
    N_("`pauses`: yes or no, where it is not as the exam file says"),
    N_("`language`: fr or en"),
)


def exam_document() -> str:
    """Return the page in Markdown, in the language of this process."""
    title, origin = _("The format of exams"), _("Generated from the code; edit labctl/exam.")
    lines = [f"# {title}", "", f"<!-- {origin} -->", ""]
    for paragraph in INTRODUCTION:
        lines += [_(paragraph), ""]
    lines += ["```yaml", *EXAMPLE.splitlines(), "```", "", *(f"- {_(rule)}" for rule in RULES), ""]
    for section, model in SECTIONS:
        lines += [f"## {_(section)}", "", *model_table(model), ""]
    lines += ["## " + _("The list of candidates"), ""]
    lines += [_("A CSV file, as a class list; its first line names the columns:"), ""]
    lines += [f"- {_(column)}" for column in COLUMNS]
    return "\n".join(lines) + "\n"
