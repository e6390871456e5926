"""What the worker answers about labs that are to be made: whether they fit."""

from labctl.worker.values import Model


class ForecastShare(Model):
    """One resource, in words and with its unit: what one lab takes, what is free, how many labs fit."""

    resource: str
    each: str
    free: str
    fits: int


class ForecastAnswer(Model):
    """Whether the labs of a class fit: `wanted` new ones, `fits` of them, `existing` that are there already."""

    topology: str
    wanted: int
    existing: int
    fits: int
    said: str
    seconds: float | None = None
    shares: tuple[ForecastShare, ...] = ()
    allowed: bool = True
