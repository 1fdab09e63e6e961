"""vLLM's side of a hand-over: what `Handover` calls from a job's thread, done on the event loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ...errors import SidecarError
from .adapters import VllmAdapters
from .client import engine_failed, told
from .gate import Gate
from .launch import BASE
from .supervisor import Supervisor

#: Until an order that vLLM confirmed is seen to be carried out.
_OBEY_SECONDS = 120.0
#: Until requests in flight have ended before the device is given up.
_DRAIN_SECONDS = 600.0
_POLL_SECONDS = 0.05
#: Beyond every limit within a step: only a loop that has stopped takes so long.
_STEP_SECONDS = 3600.0


class _Device:
    """What the two kinds of device have in common."""

    def __init__(
        self, supervisor: Supervisor, adapters: VllmAdapters, gate: Gate, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._supervisor = supervisor
        self._adapters = adapters
        self._gate = gate
        self._loop = loop

    def restart(self) -> None:
        """Starts vLLM anew, with the steps that it had."""
        self._do(self._supervisor.restart())

    def load(self, name: str, folder: Path) -> None:
        """Loads a published step again."""

        async def again() -> None:
            self._adapters.missed(name)
            await self._adapters.reload(await self._supervisor.process(), name)

        if self._adapters.serves(name):  # it may have been retired since
            self._do(again())

    async def _told(self, method: str, path: str) -> Any:
        return await told(await self._supervisor.process(), method, path, timeout_seconds=_OBEY_SECONDS)

    async def _order(self, path: str, question: str, expected: bool) -> None:
        """Gives an order and waits until it is carried out, which its own answer does not prove."""
        await self._told("POST", path)
        until = time.monotonic() + _OBEY_SECONDS
        while (await self._told("GET", f"/{question}"))[question] is not expected:
            if time.monotonic() > until:
                raise engine_failed(f"{path} was answered, and {question} is not {expected}")
            await asyncio.sleep(_POLL_SECONDS)

    def _now(self, change: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(change)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_STEP_SECONDS)


class OwnDevice(_Device):
    """GPUs that vLLM has to itself: nothing is handed over, and it answers while a step is trained."""

    def pause(self) -> None:
        """Nobody waits."""

    def sleep(self) -> None:
        """Nothing is to be freed."""

    def wake(self) -> None:
        """Nothing was freed."""

    def resume(self) -> None:
        """Nobody waited."""

    def adapters(self) -> set[str]:
        """All: none was lost, and a new life is given out with them."""
        return set(self._adapters.published)


class CpuDevice(OwnDevice):
    """On a CPU memory is not handed over, only the cores: requests stop between two tokens and go on afterwards."""

    def pause(self) -> None:
        """Freezes what is in flight; what comes waits in vLLM."""
        self._do(self._order("/pause?mode=keep", "is_paused", True))

    def resume(self) -> None:
        """Goes on."""
        self._do(self._order("/resume", "is_paused", False))


class CudaDevice(_Device):
    """On a GPU the weights go to main memory and keys and values are dropped, so nothing may be in flight."""

    def pause(self) -> None:
        """Holds new requests back and waits for the others."""
        self._now(lambda: self._gate.shut("trainer"))
        if not self._do(self._gate.drained(_DRAIN_SECONDS)):
            raise SidecarError(
                "engine_busy",
                f"Requests are still in flight after {_DRAIN_SECONDS:g} s.",
                fix="Bound answers with max_tokens.",
                http_status=503,
            )

    def sleep(self) -> None:
        """Frees the device; a vLLM that dies meanwhile is not started before the trainer is done."""
        self._do(self._order("/sleep?level=1", "is_sleeping", True))
        self._now(self._supervisor.may_start.clear)

    def wake(self) -> None:
        """Takes the device again, and sees that a token can be sampled."""
        _give_back_cached()
        self._now(self._supervisor.may_start.set)
        self._do(self._order("/wake_up", "is_sleeping", False))
        self._do(self._sample())

    def resume(self) -> None:
        """Lets the held requests go on."""
        self._now(lambda: self._gate.open("trainer"))

    def adapters(self) -> set[str]:
        """As vLLM lists them."""
        listed = self._do(self._told("GET", "/v1/models"))
        return {one["id"] for one in listed["data"] if one["id"] != BASE}

    async def _sample(self) -> None:
        body = {"model": BASE, "prompt": [0], "max_tokens": 1, "temperature": 0}
        await told(await self._supervisor.process(), "POST", "/v1/completions", body, timeout_seconds=_OBEY_SECONDS)


def _give_back_cached() -> None:
    """What the trainer does not use any more is kept by torch for its next step, and missing to vLLM."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
