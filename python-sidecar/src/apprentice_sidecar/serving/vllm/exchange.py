"""One chat request through vLLM: sent under a lease of its step, read to its end, ended by closing the connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from ...errors import SidecarError
from ...marks import passing
from .answers import Answers
from .client import engine_failed


class VllmExchange:
    """An answer on its way from vLLM; `over` is called once, when it has ended or is given up."""

    def __init__(self, response: httpx.Response, answers: Answers, over: Callable[[], None]) -> None:
        self._response = response
        self._answers = answers
        self._over: Callable[[], None] | None = over
        self._closing: asyncio.Task[None] | None = None

    async def answer(self) -> dict[str, Any]:
        """The whole answer. Raises SidecarError."""
        try:
            body = json.loads(await self._response.aread())
            passing("answering")
            return self._answers.whole(body)
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise broken(error) from error
        finally:
            self.cancel()

    async def events(self) -> AsyncIterator[str]:
        """The answer as server-sent events. Raises SidecarError where it breaks off."""
        try:
            async for line in self._response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    yield f"{line}\n\n"
                    return
                passing("answering")
                for chunk in self._answers.chunk(json.loads(line.removeprefix("data: "))):
                    yield f"data: {json.dumps(chunk)}\n\n"
            raise engine_failed("its stream ended early")
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise broken(error) from error
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Closes the connection, which ends the request in vLLM where it has not ended."""
        if self._over is None:
            return
        over, self._over = self._over, None
        # Not awaited: who cancels may be cancelled itself.
        self._closing = asyncio.ensure_future(self._response.aclose())
        over()


def broken(error: Exception) -> SidecarError:
    """vLLM's answer broke off, or is none that we know."""
    return engine_failed(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
