"""Which steps vLLM has, under their own names: loaded and verified, put out for others, and brought back on demand."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from pathlib import Path

from ...base_model import BaseModel
from ...checkpoints import AdapterCheckpoint, adapter_invalid, read_adapter
from ...errors import SidecarError
from ...marks import passing
from ..contract import PublishedAdapter, adapter_not_served, adapter_unloading, model_not_found
from ..publishing import canary_of, compare_canary, name_taken, published_before
from .client import ask, engine_failed, told
from .launch import BASE
from .process import VllmProcess

#: How long a load is tried again while the engine is busy with its weights, seconds.
_BUSY_SECONDS = 60.0
#: A load reaches one replica, and so does a question for the list. So many lists in a row must have a step.
_LISTS = 8
#: How often a step is sent to replicas that do not list it.
_ROUNDS = 8


class VllmAdapters:
    """The published steps, and those of them that this life of vLLM has: at most `capacity`, or all that are in use."""

    def __init__(self, base: BaseModel, *, capacity: int) -> None:
        self._base = base
        self._capacity = capacity
        self.published: dict[str, PublishedAdapter] = {}
        #: what this life of vLLM has and was found right, least recently used first
        self._loaded: OrderedDict[str, None] = OrderedDict()
        #: what this life was sent under a name, by digest
        self._sent: dict[str, str] = {}
        self._leases: Counter[str] = Counter()
        self._retiring: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> dict[str, Path]:
        """Folders of the published steps that vLLM has."""
        return {name: self.published[name].folder for name in list(self._loaded) if name in self.published}

    def serves(self, name: str) -> bool:
        """Whether new requests may name this step."""
        return name in self.published and name not in self._retiring

    async def check(self, name: str, folder: Path) -> AdapterCheckpoint | PublishedAdapter:
        """The verified checkpoint that is to become `name`, or what it has become already. Raises SidecarError."""
        if name in self._retiring:
            raise adapter_unloading(name)
        checkpoint = await asyncio.to_thread(read_adapter, folder, expect_base_digest=self._base.digest)
        return published_before(name, checkpoint, self.published.get(name)) or checkpoint

    async def publish(self, process: VllmProcess, name: str, checkpoint: AdapterCheckpoint) -> PublishedAdapter:
        """Loads, runs the canary, publishes. Raises SidecarError and then serves what it served before."""
        passing("publish-read")
        async with self._one_at_a_time:
            known = published_before(name, checkpoint, self.published.get(name))
            if known is not None:
                return known  # published while this one waited
            canary = await self._load(process, name, checkpoint)
            passing("publish-verified")
            served = PublishedAdapter(name, checkpoint.folder, checkpoint.digest, canary)
            self.published[name] = served
        passing("published")
        return served

    async def retire(self, process: VllmProcess | None, name: str) -> None:
        """Takes a step out of service, and out of vLLM once its last request has ended."""
        if not self.serves(name):
            raise adapter_not_served(name)
        passing("retiring")
        self._retiring.add(name)
        if not self._leases[name]:
            await self._drop(process, name)

    async def acquire(self, process: VllmProcess, name: str) -> None:
        """From here to `release` vLLM has the step; it is loaded first where it was put out. Raises SidecarError."""
        if name == BASE:
            return
        if not self.serves(name):
            raise model_not_found(name)
        self._leases[name] += 1
        try:
            if name not in self._loaded:
                await self.reload(process, name)
            if name in self._loaded:  # else vLLM has been started anew meanwhile
                self._loaded.move_to_end(name)
        except BaseException:
            self.release(process, name)
            raise

    def release(self, process: VllmProcess, name: str) -> None:
        """A request on the step has ended."""
        if name == BASE:
            return
        self._leases[name] -= 1
        if name in self._retiring and not self._leases[name]:
            chore = asyncio.ensure_future(self._drop(process, name))
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    def missed(self, name: str) -> None:
        """vLLM does not know a step that it should have: the next use loads it again."""
        self._loaded.pop(name, None)

    async def settle(self, process: VllmProcess) -> None:
        """Gives a new life of vLLM the steps that the last one had; what cannot be loaded any more is not served."""
        before = list(self.loaded)
        self._loaded.clear()
        self._sent.clear()
        for name in before:
            if name not in self.published:
                continue  # retired meanwhile
            try:
                await self.reload(process, name)
            except SidecarError as error:
                if error.http_status >= 500:
                    self._loaded = OrderedDict.fromkeys(before)
                    raise

    async def reload(self, process: VllmProcess, name: str) -> None:
        """Loads a published step again, from its folder. One that was changed there is not served any more."""
        known = self.published[name]
        try:
            checkpoint = await asyncio.to_thread(read_adapter, known.folder, expect_base_digest=self._base.digest)
            if checkpoint.digest != known.digest:
                raise adapter_invalid(known.folder, "it is not what was published")
            async with self._one_at_a_time:
                await self._load(process, name, checkpoint)
        except SidecarError as error:
            if error.http_status < 500:
                self.published.pop(name, None)
                print(f"{name} is not served any more: {error.message}", file=sys.stderr, flush=True)
            raise

    async def _load(self, process: VllmProcess, name: str, checkpoint: AdapterCheckpoint) -> dict[str, float]:
        """Loads on every replica and compares with the trainer; leaves nothing behind where that fails."""
        if name in self._loaded:
            return self.published[name].canary  # by another request that waited for it
        await self._make_room(process)
        try:
            await self._load_everywhere(process, name, checkpoint)
            passing("publish-loaded")
            report = await self._canary(process, name, checkpoint)
        except BaseException:
            await self._unload(process, name)
            # Keys and values are kept by name, and the name may come again with other bytes.
            with suppress(SidecarError):
                await ask(process, "POST", "/reset_prefix_cache")
            raise
        self._loaded[name] = None
        return report

    async def _load_everywhere(self, process: VllmProcess, name: str, checkpoint: AdapterCheckpoint) -> None:
        for times in range(1, _ROUNDS + 1):
            for _ in range(times):
                await self._send(process, name, checkpoint)
            if all([await self._is_listed(process, name) for _ in range(_LISTS)]):
                return
        raise engine_failed(f"{name} was loaded, and not every replica lists it")

    async def _send(self, process: VllmProcess, name: str, checkpoint: AdapterCheckpoint) -> None:
        body = {"lora_name": name, "lora_path": str(checkpoint.folder.resolve())}
        sent_before, self._sent[name] = self._sent.get(name), checkpoint.digest
        until, pause = time.monotonic() + _BUSY_SECONDS, 0.1
        while True:
            response = await ask(process, "POST", "/v1/load_lora_adapter", body, fresh_connection=True)
            if response.status_code != 409 or time.monotonic() > until:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)
        if response.status_code == 200:
            return
        if response.status_code == 400 and "already been loaded" in response.text:
            if sent_before == checkpoint.digest:
                return
            raise name_taken(name)
        if response.status_code == 409 or not await process.is_healthy():
            raise engine_failed(f"loading {name}: HTTP {response.status_code}")
        raise adapter_invalid(checkpoint.folder, f"vLLM does not load it: {response.text[:500]}")

    async def _is_listed(self, process: VllmProcess, name: str) -> bool:
        listed = await told(process, "GET", "/v1/models", fresh_connection=True)
        return any(one["id"] == name for one in listed["data"])

    async def _canary(self, process: VllmProcess, name: str, checkpoint: AdapterCheckpoint) -> dict[str, float]:
        canary = canary_of(checkpoint)
        served, base = [await logprobs(process, one, canary.token_ids, canary.first) for one in (name, BASE)]
        return compare_canary(canary, served, base, dtype=self._base.dtype)

    async def _make_room(self, process: VllmProcess) -> None:
        """Puts out the least recently used step that no request is on, where there are as many as vLLM keeps."""
        if len(self._loaded) < self._capacity:
            return
        idle = next((one for one in self._loaded if not self._leases[one]), None)
        if idle is not None:
            await self._unload(process, idle)

    async def _drop(self, process: VllmProcess | None, name: str) -> None:
        self.published.pop(name, None)
        self._retiring.discard(name)
        if process is not None and name in self._loaded:
            await self._unload(process, name)

    async def _unload(self, process: VllmProcess, name: str) -> None:
        """On every replica; a vLLM that does not answer has forgotten it by its next life."""
        self._loaded.pop(name, None)
        self._sent.pop(name, None)
        with suppress(SidecarError):
            for _ in range(_ROUNDS * _LISTS):
                answer = await ask(
                    process, "POST", "/v1/unload_lora_adapter", {"lora_name": name}, fresh_connection=True
                )
                if answer.status_code == 404:
                    return


async def logprobs(process: VllmProcess, model: str, ids: list[int], first: int) -> list[float]:
    """The model's logprobs of the tokens from `first` on, in nats. Raises SidecarError.

    Each token is a request of its own that may sample nothing else. `prompt_logprobs` would need one for all, but vLLM
    0.31.0 computes them with the adapters of the tokens that are sampled: beside other requests the shapes do not fit,
    and the engine ends with all that is in flight.
    """

    async def of_token(place: int) -> float:
        body = {
            "model": model,
            "prompt": ids[:place],
            "max_tokens": 1,
            "temperature": 0,
            "allowed_token_ids": [ids[place]],
            "logprobs": 0,
        }
        (choice,) = (await told(process, "POST", "/v1/completions", body))["choices"]
        return choice["logprobs"]["token_logprobs"][0]

    return list(await asyncio.gather(*(of_token(place) for place in range(first, len(ids)))))
