"""vLLM behind the contract of serving engines: a process of its own, kept alive, asked in its dialect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

from ...base_model import BaseModel
from ...protocol import ChatRequest, TokenizeRequest
from ..contract import EngineName, PublishedAdapter, ServingLoad, adapter_not_served, model_not_found
from ..handover import Handover, SleepingEngine
from ..handover import State as DeviceState
from .adapters import VllmAdapters
from .answers import Answers
from .client import exceeds_context, refusal, told
from .device import CpuDevice, CudaDevice, OwnDevice
from .dialect import as_text, to_vllm_request
from .exchange import VllmExchange, broken
from .gate import Gate
from .launch import BASE, VllmSettings
from .process import VllmProcess
from .supervisor import Patience, State, Supervisor

#: The ranks that vLLM allocates buffers for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
#: What bounds an answer.
_BOUNDS = {"max_tokens", "max_completion_tokens"}
#: How long requests in flight may go on before a restart with larger buffers cuts them off.
_DRAIN_SECONDS = 300.0


class VllmServing:
    """See `ServingEngine`. `folder` takes vLLM's log and the note of what runs; `say` hears about the boot."""

    name: EngineName = "vllm"

    def __init__(
        self,
        base: BaseModel,
        settings: VllmSettings,
        folder: Path,
        *,
        say: Callable[[str], None],
        patience: Patience | None = None,
        inherited: Mapping[str, str] = os.environ,
    ) -> None:
        self._base = base
        self._device: Literal["cpu", "cuda"] = settings.device
        self._reads_calls = settings.tool_call_parser == "hermes"
        self._adapters = VllmAdapters(base, capacity=settings.max_cpu_loras)
        self._supervisor = Supervisor(
            settings, folder, settled=self._adapters.settle, say=say, patience=patience, inherited=inherited
        )
        self._gate = Gate()
        self._publishing = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handover: Handover | None = None
        self._waiting = 0
        self._generated = 0

    @property
    def published(self) -> list[PublishedAdapter]:
        """The steps that new requests may name."""
        return [one for name, one in self._adapters.published.items() if self._adapters.serves(name)]

    async def start(self) -> None:
        """Boots vLLM. Raises SidecarError `serving_failed`."""
        self._loop = asyncio.get_running_loop()
        settings = self._supervisor.settings
        kind = CpuDevice if settings.device == "cpu" else CudaDevice if settings.shares_gpu else OwnDevice
        device: SleepingEngine = kind(self._supervisor, self._adapters, self._gate, self._loop)
        self._handover = Handover(device)
        await self._supervisor.start()

    async def close(self) -> None:
        """Ends vLLM; what is in flight fails."""
        await self._supervisor.close()

    def load(self) -> ServingLoad:
        """Requests, and the tokens of their answers."""
        return ServingLoad(self._gate.passed, self._waiting, self._generated)

    def health(self) -> dict[str, Any]:
        """State of the process; `pid` is its guard's."""
        one = self._supervisor
        return {"serving": {"state": one.state.value, "restarts": one.restarts, "pid": one.pid}}

    @contextmanager
    def lend_device(self) -> Iterator[None]:
        """See `Handover`."""
        if self._handover is None or self._loop is None:
            raise RuntimeError("start() comes first")
        try:
            with self._handover.device(self._adapters.loaded):
                yield
        finally:
            if self._handover.state is DeviceState.LOST:
                asyncio.run_coroutine_threadsafe(self._give_up(), self._loop).result()

    async def tokenize(self, request: TokenizeRequest) -> list[int]:
        """vLLM's own ids: those that it reports with an answer."""
        body = {
            "model": BASE,
            "messages": request.messages,
            "add_generation_prompt": request.add_generation_prompt,
            **self._template_kwargs(request.chat_template_kwargs),
        }
        if request.tools:
            body["tools"] = request.tools
        process = await self._supervisor.process()
        return (await told(process, "POST", "/tokenize", body))["tokens"]

    async def publish(self, name: str, folder: Path) -> PublishedAdapter:
        """Loads, verifies on every replica, runs the canary, publishes. Raises SidecarError."""
        found = await self._adapters.check(name, folder)
        if isinstance(found, PublishedAdapter):
            return found
        async with self._publishing:
            await self._gate.enter()
            try:
                await self._fit(_rank(found.config))
                return await self._adapters.publish(await self._supervisor.process(), name, found)
            finally:
                self._gate.leave()

    async def retire(self, name: str) -> None:
        """Takes a step out of service. Raises SidecarError."""
        if not self._adapters.serves(name):
            raise adapter_not_served(name)
        process = await self._supervisor.process() if self._supervisor.state is State.READY else None
        await self._adapters.retire(process, name)

    async def begin(self, request: ChatRequest) -> VllmExchange:
        """Sends the request on, once vLLM is there and has the step. Raises SidecarError."""
        if request.model != BASE and not self._adapters.serves(request.model):
            raise model_not_found(request.model)
        body = to_vllm_request(request, device=self._device)
        body |= self._template_kwargs(request.chat_template_kwargs)
        body["return_token_ids"] = True
        for bound in _BOUNDS & body.keys():
            body[bound] = min(body[bound], self._base.context_length)
        own_calls = self._reads_calls and bool(body.get("tools"))
        if own_calls:
            body = as_text(body, request)
        self._waiting += 1
        try:
            await self._gate.enter()
        finally:
            self._waiting -= 1
        return await self._send(request, body, Answers(request, own_calls=own_calls))

    async def _send(self, request: ChatRequest, body: dict[str, Any], answers: Answers) -> VllmExchange:
        """From the gate on: whatever fails, the lease and the gate are given back."""
        leased: VllmProcess | None = None

        def over() -> None:
            if leased is not None:
                self._adapters.release(leased, request.model)
            self._generated += answers.generated
            self._gate.leave()

        try:
            process = await self._supervisor.process()
            await self._adapters.acquire(process, request.model)
            leased = process
            response, refused = await _post(process, body)
            if response.status_code == 404 and request.model != BASE:
                self._adapters.missed(request.model)
                await self._adapters.reload(process, request.model)
                response, refused = await _post(process, body)
            elif exceeds_context(response.status_code, refused) and await self._shorten(process, body):
                response, refused = await _post(process, body)
            if response.status_code != 200:
                raise refusal(response.status_code, refused)
        except BaseException:
            over()
            raise
        return VllmExchange(response, answers, over)

    async def _shorten(self, process: VllmProcess, body: dict[str, Any]) -> bool:
        """Bounds an answer by the room that the prompt leaves; False where it leaves none or no bound was given."""
        bounds = _BOUNDS & body.keys()
        wanted = {name: body[name] for name in ("model", "messages", "tools", "chat_template_kwargs") if name in body}
        counted = await told(process, "POST", "/tokenize", wanted | {"model": BASE})
        room = self._base.context_length - int(counted["count"])
        for name in bounds:
            body[name] = min(body[name], room)
        return bool(bounds) and room > 0

    async def _fit(self, rank: int) -> None:
        """Starts vLLM anew where its buffers are too small for a step of this rank; other requests wait for it."""
        while self._supervisor.settings.max_lora_rank < rank:
            larger = next((one for one in _RANKS if one >= rank), rank)
            self._gate.shut("restart")
            try:
                await self._gate.drained(_DRAIN_SECONDS, but=1)
                await self._supervisor.restart(max_lora_rank=larger)
            finally:
                self._gate.open("restart")

    async def _give_up(self) -> None:
        """After a device that did not come back: every request is refused at once, rather than held for ever."""
        await self._supervisor.close()
        self._gate.open("trainer")

    def _template_kwargs(self, given: dict[str, Any]) -> dict[str, Any]:
        every = dict(self._base.chat_template_kwargs) | given
        return {"chat_template_kwargs": every} if every else {}


async def _post(process: VllmProcess, body: dict[str, Any]) -> tuple[httpx.Response, str]:
    """The response with its body still to be read; where it refuses, that body instead."""
    try:
        request = process.client.build_request("POST", "/v1/chat/completions", json=body)
        response = await process.client.send(request, stream=True)
        if response.status_code == 200:
            return response, ""
        return response, (await response.aread()).decode(errors="replace")
    except httpx.HTTPError as error:
        raise broken(error) from error


def _rank(config: Mapping[str, Any]) -> int:
    """The largest rank of an adapter's matrices."""
    return max([int(config["r"]), *(int(one) for one in (config.get("rank_pattern") or {}).values())])
