"""Threads that work side by side for one person: each takes along who asked for the work, and in which language."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Crew(ThreadPoolExecutor):
    """A pool whose threads run in the context of the thread that gave them the work."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a piece of work to a thread."""
        return super().submit(partial(copy_context().run, fn, *args, **kwargs))
