"""From a serving engine that is made to one that is served, and to its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from ..connections import KEEP_ALIVE_SECONDS
from ..serving.contract import ServingEngine


def configured(app: Any, **more: Any) -> uvicorn.Config:
    """What all our servers have in common; `more` are options of uvicorn's."""
    return uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=KEEP_ALIVE_SECONDS, **more
    )


def run(serving: ServingEngine, config: uvicorn.Config, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serves on `listener` until the process is asked to end; `ready` is called once requests can be answered.

    Raises SidecarError where the serving engine does not start.
    """

    async def lifetime() -> None:
        try:
            await serving.start()
            ready()
            await uvicorn.Server(config).serve(sockets=[listener])
        finally:
            await serving.close()

    asyncio.run(lifetime())
