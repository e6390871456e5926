"""What can be asked about exams: by a candidate about their own, by proctors about a session."""

from typing import Any, Literal

from pydantic import Field

from labctl.worker.answers import Accepted
from labctl.worker.exam_answers import ExamActed, ExamBoard, ExamPage, Exams
from labctl.worker.exam_values import MOST_MINUTES, ExamVerb, Numbers, SessionName
from labctl.worker.requests import Ask
from labctl.worker.values import NodeName, Nodes


class AskExam(Ask[ExamPage]):
    """The exam of the candidate who asks."""

    kind: Literal["exam"] = "exam"


class ExamReset(Ask[Accepted]):
    """Bring a machine of one's own back to its first state, all of them without `nodes`, as the exam allows."""

    kind: Literal["exam_reset"] = "exam_reset"
    nodes: Nodes = ()


class ExamWake(Ask[Accepted]):
    """Switch on a machine of one's own that is off."""

    kind: Literal["exam_wake"] = "exam_wake"
    node: NodeName


class AskExams(Ask[Exams]):
    """The sessions."""

    kind: Literal["exams"] = "exams"


class AskExamBoard(Ask[ExamBoard]):
    """The board of a session."""

    kind: Literal["exam_board"] = "exam_board"
    session: SessionName


class ExamAct(Ask[ExamActed]):
    """Do one of a proctor's acts for candidates, `everybody` for all; `text` is its reason, or the message.

    `minutes` are what `extend` gives, and what an incident is worth.
    """

    kind: Literal["exam_act"] = "exam_act"
    session: SessionName
    verb: ExamVerb
    numbers: Numbers = ()
    everybody: bool = False
    text: str = Field(min_length=1, max_length=1000)
    minutes: float = Field(default=0.0, ge=0, le=MOST_MINUTES, allow_inf_nan=False)


EXAM_KINDS: dict[str, type[Ask[Any]]] = {
    str(model.model_fields["kind"].default): model
    for model in (AskExam, ExamReset, ExamWake, AskExams, AskExamBoard, ExamAct)
}
