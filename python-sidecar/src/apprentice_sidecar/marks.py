"""Named points of the work between which a sidecar may die; docs/faults.md says what follows from each.

Nothing looks at them but tests, which put an observer here from an entry point of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Mark = Literal[
    "model-loaded",
    "answering",
    "job-accepted",
    "gradient-step",
    "checkpoint-written",
    "checkpoint-renamed",
    "job-ended",
    "publish-read",
    "publish-loaded",
    "publish-verified",
    "published",
    "retiring",
]

_observers: list[Callable[[Mark], None]] = []


def observe(observer: Callable[[Mark], None]) -> None:
    """Calls `observer` at every mark from now on, in the thread that does the work."""
    _observers.append(observer)


def passing(mark: Mark) -> None:
    """The work has come to `mark`."""
    for observer in _observers:
        observer(mark)
