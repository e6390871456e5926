"""How long the evaluation of a Windows image still lasts, to the refusal to begin a lab on one that ends soon."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

from labctl.errors import Refused
from labctl.images.given import command_for
from labctl.images.store import Image
from labctl.language import ngettext

FEWEST_DAYS = 7  # a lab is not begun on a Windows that ends within a week


def days_left(image: Image, today: date) -> int | None:
    """Return how many days the evaluation of an image lasts, none below 0; None for an image that does not end.

    One without a day on which it was measured does not get older: its time begins with the first start of a machine,
    for sysprep has set it back ("activation-slmgr-vbs-options", /rearm). What golden labs have left, they are asked.
    """
    facts = image.given.facts if image.given else {}
    days, measured = facts.get("evaluation_days"), facts.get("measured")
    if not isinstance(days, int):
        return None
    if not isinstance(measured, str):
        return days
    return max(0, (date.fromisoformat(measured) + timedelta(days=days) - today).days)


def find_ending(images: Iterable[Image], today: date) -> Iterator[tuple[Image, int]]:
    """Yield the images whose evaluation ends too soon, with the days that are left."""
    for image in images:
        left = days_left(image, today)
        begun = image.given is not None and "measured" in image.given.facts
        if begun and left is not None and left < FEWEST_DAYS:
            yield image, left


def check_evaluations(images: Iterable[Image]) -> None:
    """Raise Refused where the evaluation of one of the images ends too soon."""
    for image, left in find_ending(images, datetime.now(UTC).date()):
        text = ngettext(
            'the evaluation of the image "{name}" ends in {days} day: its machines would soon switch themselves off',
            'the evaluation of the image "{name}" ends in {days} days: its machines would soon switch themselves off',
            left,
        )
        # The other way is told by `labctl up --help`: --force.
        hint = f"labctl image rm {image.name} && {command_for(image.name)}"
        raise Refused(text.format(name=image.name, days=left), hint=hint)
