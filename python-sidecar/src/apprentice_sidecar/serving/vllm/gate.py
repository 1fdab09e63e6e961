"""Where requests wait while vLLM must not be asked, and how many have passed."""

from __future__ import annotations

import asyncio
from typing import Literal

#: A trainer that has the device, or a restart with larger buffers.
Holder = Literal["trainer", "restart"]


class Gate:
    """Open unless somebody holds it shut. Used on the event loop only."""

    def __init__(self) -> None:
        self._holders: set[Holder] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._left = asyncio.Event()
        #: requests between `enter` and `leave`
        self.passed = 0

    async def enter(self) -> None:
        """Waits, for however long it is shut, and passes."""
        while self._holders:
            await self._open.wait()
        self.passed += 1

    def leave(self) -> None:
        """A request that passed has ended."""
        self.passed -= 1
        self._left.set()

    def shut(self, holder: Holder) -> None:
        """From now on requests wait."""
        self._holders.add(holder)
        self._open.clear()

    def open(self, holder: Holder) -> None:
        """They go on, where nobody else holds it."""
        self._holders.discard(holder)
        if not self._holders:
            self._open.set()

    async def drained(self, seconds: float, *, but: int = 0) -> bool:
        """Waits until all that passed have left, but for so many; False where they have not in time."""

        async def until() -> None:
            while self.passed > but:
                self._left.clear()
                await self._left.wait()

        try:
            await asyncio.wait_for(until(), seconds)
        except asyncio.TimeoutError:
            return False
        return True
