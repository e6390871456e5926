"""The words that requests and answers about exams share."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

SessionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
CandidateNumber = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Numbers = Annotated[tuple[CandidateNumber, ...], Field(max_length=200)]
ExamVerb = Literal["extend", "pause", "resume", "freeze", "message", "incident"]
MOST_MINUTES = 8 * 60
