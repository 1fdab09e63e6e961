"""vLLM's lives: started, watched, started again with growing pauses; after too many short ones nobody waits for it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from ...errors import SidecarError
from .launch import VllmSettings
from .process import VllmProcess


class State(Enum):
    """Whether there is a vLLM to ask."""

    READY = "ready"
    RESTARTING = "restarting"
    #: it ended again and again, and every request is refused until a further start succeeds
    LOST = "lost"


@dataclass(frozen=True)
class Patience:
    """How long what may take."""

    #: before each further try; after as many failures requests are refused at once, and the last pause is kept
    pauses: tuple[float, ...] = (0.5, 2.0, 5.0, 15.0, 30.0)
    #: a life that lasted so long takes the failures before it off the count
    stable_seconds: float = 60.0
    #: between two looks at its health
    look_seconds: float = 2.0
    #: looks without an answer after which it counts as stuck
    looks: int = 5
    boot_seconds: float = 1200.0
    #: how long a request waits for a vLLM that is being started again
    wait_seconds: float = 60.0
    #: between two words about a boot that takes long
    word_seconds: float = 15.0


class Supervisor:
    """Keeps one vLLM alive. `settled` is called with each new life before it is given out.

    `say` hears about the first boot; what comes later goes to standard error.
    """

    def __init__(
        self,
        settings: VllmSettings,
        folder: Path,
        *,
        settled: Callable[[VllmProcess], Awaitable[None]],
        say: Callable[[str], None],
        patience: Patience | None = None,
        inherited: Mapping[str, str] = os.environ,
    ) -> None:
        self.settings = settings
        self.state = State.RESTARTING
        self.restarts = 0
        #: cleared while a trainer has the device: a start would take it away
        self.may_start = asyncio.Event()
        self.may_start.set()
        self._log = folder / "vllm.log"
        self._settled = settled
        self._say = say
        self._patience = patience or Patience()
        self._inherited = inherited
        self._process: VllmProcess | None = None
        self._changed = asyncio.Condition()
        self._keeper: asyncio.Task[None] | None = None
        #: the end of this life was asked for, and is no failure
        self._asked_for = False

    @property
    def pid(self) -> int | None:
        """The guard's, while there is a vLLM."""
        return None if self._process is None else self._process.guard_pid

    async def start(self) -> None:
        """The first life. Raises SidecarError where it does not come up."""
        await self._boot(self._say)
        await self._turn(State.READY)
        self._keeper = asyncio.create_task(self._keep())

    async def process(self, wait_seconds: float | None = None) -> VllmProcess:
        """The vLLM to ask, waited for while it is being started again. Raises SidecarError 503."""
        if self._process is not None and self._process.ended.is_set() and self.state is State.READY:
            self.state = State.RESTARTING  # its keeper has not looked yet
        if self.state is not State.READY:
            await self._wait_until_ready(self._patience.wait_seconds if wait_seconds is None else wait_seconds)
        if self._process is None:
            raise _lost(self._log)
        return self._process

    async def restart(self, **changes: object) -> None:
        """Ends this life and waits for the next, with changed settings where given. Raises SidecarError 503."""
        self.settings = replace(self.settings, **changes)  # pyright: ignore[reportArgumentType] -- names of settings
        self.may_start.set()
        if self.state is State.READY and self._process is not None:
            self.state, self._asked_for = State.RESTARTING, True
            await self._process.stop()
        await self._wait_until_ready(self._patience.boot_seconds)

    async def close(self) -> None:
        """Ends vLLM for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        if self._process is not None:
            await self._process.stop()
        self._process = None
        await self._turn(State.LOST)

    async def _keep(self) -> None:
        failures, began = 0, time.monotonic()
        while self._process is not None:
            await self._until_ill(self._process)
            await self._turn(State.RESTARTING)
            await self._process.stop()
            self._process = None
            if self._asked_for or time.monotonic() - began > self._patience.stable_seconds:
                failures, self._asked_for = 0, False
            while self._process is None:
                if failures >= len(self._patience.pauses):
                    await self._turn(State.LOST)
                await asyncio.sleep(self._patience.pauses[min(failures, len(self._patience.pauses) - 1)])
                failures += 1
                await self.may_start.wait()
                try:
                    await self._boot(_note)
                except Exception as error:  # whatever it is: without this task nothing starts vLLM again
                    _note(f"vLLM did not start again: {error}")
            self.restarts += 1
            began = time.monotonic()
            await self._turn(State.READY)

    async def _boot(self, say: Callable[[str], None]) -> None:
        began = time.monotonic()
        start = asyncio.ensure_future(
            VllmProcess.start(
                self.settings,
                log=self._log,
                timeout_seconds=self._patience.boot_seconds,
                inherited=self._inherited,
            )
        )
        try:
            while not start.done():
                say(f"starting vLLM ({time.monotonic() - began:.0f} s)")
                await asyncio.wait({start}, timeout=self._patience.word_seconds)
            process = start.result()
        finally:
            if not start.done():
                start.cancel()
                await asyncio.wait({start})
        try:
            await self._settled(process)
        except BaseException:
            await process.stop()
            raise
        self._process = process

    async def _until_ill(self, process: VllmProcess) -> None:
        """Returns once it has ended, or has not answered several times in a row."""
        missed = 0
        while missed < self._patience.looks:
            try:
                await asyncio.wait_for(process.ended.wait(), self._patience.look_seconds)
                if not self._asked_for:
                    _note(f"vLLM has ended. Its last lines:\n{process.log_tail()}")
                return
            except asyncio.TimeoutError:
                missed = 0 if await process.is_healthy() else missed + 1
        _note("vLLM does not answer any more")

    async def _turn(self, state: State) -> None:
        async with self._changed:
            self.state = state
            self._changed.notify_all()

    async def _wait_until_ready(self, seconds: float) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self.state is not State.RESTARTING), timeout=seconds
                )
            except asyncio.TimeoutError as error:
                raise SidecarError(
                    "serving_restarting",
                    f"vLLM is being started again, for more than {seconds:g} s now.",
                    fix="Try again later; its log has the details.",
                    http_status=503,
                ) from error
        if self.state is State.LOST:
            raise _lost(self._log)


def _lost(log: Path) -> SidecarError:
    return SidecarError(
        "serving_lost",
        "vLLM is not there: it ended again and again, or did not come back after training.",
        fix=f"Mend what {log} says, and restart the sidecar where it stays away: every saved step is there.",
        http_status=503,
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
