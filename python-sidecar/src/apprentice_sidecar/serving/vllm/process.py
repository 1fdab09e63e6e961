"""One life of vLLM: started under the guard, ready once it proves to be ours, ended with everything it started."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from ...errors import SidecarError
from . import guard
from .launch import BASE, VllmSettings, launch_command, launch_environment

#: Bytes of the log's end that an error shows.
_TAIL_BYTES = 2000
_POLL_SECONDS = 0.25


class VllmProcess:
    """A ready vLLM. `client` speaks to it with its key; `ended` is set when it has gone, whatever ended it."""

    def __init__(self, settings: VllmSettings, process: asyncio.subprocess.Process, log: Path) -> None:
        self.settings = settings
        self.log = log
        self.client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.port}",
            headers={"authorization": f"Bearer {settings.api_key}"},
            timeout=httpx.Timeout(None, connect=5.0),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,  # a proxy of the user's has no place on the loopback
        )
        self._process = process
        self.ended = asyncio.Event()
        self._watcher = asyncio.create_task(self._watch())

    @property
    def guard_pid(self) -> int:
        """Of the guard, whose end is the end of vLLM."""
        return self._process.pid

    @classmethod
    async def start(
        cls,
        settings: VllmSettings,
        *,
        log: Path,
        timeout_seconds: float = 1200.0,
        inherited: Mapping[str, str] = os.environ,
    ) -> VllmProcess:
        """Starts vLLM on a free port under a key of its own and waits until it answers.

        `settings.port` 0 and `settings.api_key` "" are chosen here. Raises SidecarError `serving_failed` with the end
        of the log, after everything that was started has been ended.
        """
        chosen = replace(
            settings, port=settings.port or _free_port(), api_key=settings.api_key or secrets.token_hex(32)
        )
        log.parent.mkdir(parents=True, exist_ok=True)
        guard.end_left_overs(log.parent)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                chosen.python, guard.__file__, str(log.parent), *launch_command(chosen),
                stdin=asyncio.subprocess.PIPE,  # the lifeline
                stdout=descriptor,
                stderr=descriptor,
                env=launch_environment(chosen, inherited),
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SidecarError(
                "serving_failed",
                f"{chosen.python} cannot be run: {error.strerror}.",
                fix="Give the interpreter of an environment that holds vLLM.",
                http_status=503,
            ) from error
        finally:
            os.close(descriptor)
        started = cls(chosen, process, log)
        try:
            await started._wait_until_ready(timeout_seconds)
        except BaseException:
            await started.stop()
            raise
        return started

    async def stop(self) -> None:
        """Ends vLLM and everything that it started; returns once the guard has gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._watcher
        await self.client.aclose()

    async def is_healthy(self, timeout_seconds: float = 5.0) -> bool:
        """Whether its API server answers and holds its engine for alive."""
        try:
            return (await self.client.get("/health", timeout=timeout_seconds)).status_code == 200
        except httpx.HTTPError:
            return False

    def log_tail(self) -> str:
        """The end of its log."""
        return self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")

    async def _watch(self) -> None:
        await self._process.wait()
        # A guard that was killed could end nothing.
        guard.end_left_overs(self.log.parent)
        self.ended.set()

    async def _wait_until_ready(self, timeout_seconds: float) -> None:
        until = time.monotonic() + timeout_seconds
        while not await self.is_healthy():
            if self.ended.is_set():
                raise self._failure("vLLM ended before it was ready")
            if time.monotonic() > until:
                raise self._failure(f"vLLM was not ready after {timeout_seconds:g} s")
            await asyncio.sleep(_POLL_SECONDS)
        # The port may have gone to somebody else: only ours knows the key, and refuses to answer without it.
        ours = await self.client.get("/v1/models", timeout=10.0)
        refused = await self.client.get("/v1/models", headers={"authorization": "Bearer other"}, timeout=10.0)
        names = [one.get("id") for one in ours.json().get("data", [])] if ours.status_code == 200 else []
        if BASE not in names or refused.status_code != 401:
            raise self._failure(f"port {self.settings.port} answers as another server")

    def _failure(self, what: str) -> SidecarError:
        return SidecarError(
            "serving_failed",
            f"{what}. Its last lines:\n{self.log_tail()}\n",
            fix=f"Mend what they say; the whole log is {self.log}.",
            http_status=503,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
