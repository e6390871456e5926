"""What every document of an exam session says of it, and how hours and lengths are written there."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from labctl.exam.standing import Standing, number_of

MINUTE, HOUR = 60, 3600  # seconds
SPACE = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Heading:
    """The session that a document is of, its language, and when it was made.

    `exam` is the number of the exam such as E6, `year` that of the session. `minute` is how many seconds a minute
    lasts: fewer than 60 in a rehearsal alone. `zone` is that of the room, None for the host's own.
    """

    session: str
    exam: str
    year: int
    rehearsal: bool
    minute: float
    language: str
    made: datetime
    zone: tzinfo | None = None

    def day(self, moment: datetime) -> str:
        """Return the day of a moment in the room."""
        return moment.astimezone(self.zone).strftime("%d/%m/%Y" if self.language == "fr" else "%Y-%m-%d")

    def hour(self, moment: datetime | None) -> str:
        """Return a moment by the clock of the room, to the second and never later; nothing for none."""
        return moment.astimezone(self.zone).strftime("%H:%M:%S") if moment else ""

    def moment(self, moment: datetime | None) -> str:
        """Return the day and the hour; nothing for none."""
        return f"{self.day(moment)} {self.hour(moment)}" if moment else ""


def head(session: str, standing: Standing, language: str, made: datetime, zone: tzinfo | None = None) -> Heading:
    """Return the heading of the documents of a session."""
    year = int(number_of(standing.about, "year"))
    return Heading(
        session, standing.text("number"), year, standing.rehearsal, standing.minute, language, made, zone
    )  # fmt: skip


def length(time: timedelta) -> str:
    """Return a length as 1 h 20 min or 26 min 40 s, rounded down to the second."""
    seconds = int(time.total_seconds())
    parts = ((seconds // HOUR, "h"), (seconds % HOUR // MINUTE, "min"), (seconds % MINUTE, "s"))
    return SPACE.join(f"{count}{SPACE}{unit}" for count, unit in parts if count) or f"0{SPACE}min"
