"""Shared mode: one device is handed from the serving engine to the trainer and back, whatever the trainer does.

sleep → train → save → wake → load what was lost → serve. The step that was trained is then published like any other:
load → canary → publish. Serving comes back by `finally`; an engine that does not wake is started anew.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Protocol

from ..errors import SidecarError


class SleepingEngine(Protocol):
    """What a serving engine needs to share its device. Every method raises where it is not done in time."""

    def pause(self) -> None:
        """Holds new requests back and waits until those in flight have ended."""
        ...

    def sleep(self) -> None:
        """Frees the device; returns once it is free. May lose adapters."""
        ...

    def wake(self) -> None:
        """Takes the device again; returns once the engine could answer."""
        ...

    def resume(self) -> None:
        """Lets the requests go on that were held back."""
        ...

    def restart(self) -> None:
        """Ends the engine's process group and starts it anew, awake, without adapters, holding requests back."""
        ...

    def adapters(self) -> set[str]:
        """Names of the adapters that it has."""
        ...

    def load(self, name: str, folder: Path) -> None:
        """Loads a published adapter again."""
        ...


class State(Enum):
    """Where the device is."""

    SERVING = "serving"
    PAUSING = "pausing"
    ASLEEP = "asleep"
    WAKING = "waking"
    #: the engine could neither be woken nor started anew: every request fails until a restart of the sidecar
    LOST = "lost"


class Handover:
    """Hands the device over, one job at a time."""

    def __init__(self, engine: SleepingEngine) -> None:
        self._engine = engine
        self._one_at_a_time = threading.Lock()
        self.state = State.SERVING

    @contextmanager
    def device(self, published: Mapping[str, Path]) -> Iterator[None]:
        """Within it the device is the trainer's; afterwards the engine serves again, with all of `published`.

        Raises SidecarError: `handover_refused` where the engine does not give the device up (it goes on serving,
        nothing was trained), `serving_lost` where it does not come back. What the trainer raises comes through.
        """
        with self._one_at_a_time:
            if self.state is State.LOST:
                raise _lost(None)
            self._fall_asleep(published)
            try:
                yield
            finally:
                self._come_back(published)

    def _fall_asleep(self, published: Mapping[str, Path]) -> None:
        self.state = State.PAUSING
        try:
            self._engine.pause()
            self._engine.sleep()
        except Exception as error:
            # Half asleep, or stuck: waking an engine that is awake does nothing.
            self._come_back(published)
            raise SidecarError(
                "handover_refused",
                f"The serving engine did not give the device up: {error}.",
                fix="The job was not begun, and serving goes on; submit it again.",
                http_status=503,
            ) from error
        self.state = State.ASLEEP

    def _come_back(self, published: Mapping[str, Path]) -> None:
        self.state = State.WAKING
        try:
            self._engine.wake()
            self._load_missing(published)
        except Exception:
            self._start_anew(published)
        try:
            self._engine.resume()
        except Exception:
            self._start_anew(published)
            self._resume_anew()
        self.state = State.SERVING

    def _start_anew(self, published: Mapping[str, Path]) -> None:
        try:
            self._engine.restart()
            self._load_missing(published)
        except Exception as error:
            self.state = State.LOST
            raise _lost(error) from error

    def _resume_anew(self) -> None:
        try:
            self._engine.resume()
        except Exception as error:
            self.state = State.LOST
            raise _lost(error) from error

    def _load_missing(self, published: Mapping[str, Path]) -> None:
        there = self._engine.adapters()
        for name, folder in published.items():
            if name not in there:
                self._engine.load(name, folder)


def _lost(error: Exception | None) -> SidecarError:
    return SidecarError(
        "serving_lost",
        f"The serving engine did not come back after training: {error or 'see its log'}.",
        fix="Restart the sidecar; every step that was saved is there.",
        http_status=503,
    )
