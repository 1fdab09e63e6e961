"""The routes of docs/sidecar-protocol.md."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .. import PROTOCOL_VERSION
from ..base_model import BaseModel
from ..engines import Engines
from ..errors import SidecarError
from ..protocol import AdoptRequest, ChatRequest, LoadAdapter, TokenizeRequest, TrainingJobRequest, UnloadAdapter, parse
from ..serving.contract import Exchange
from ..training.adopt import adopt_adapter
from ..training.jobs import Job, TrainingJobs
from ..training.memory import peak_memory_bytes
from ..training.trainer import Event, run_job
from . import security
from .security import Access
from .transfers import Transfers

Handler = Callable[[Request], Awaitable[Response]]


class Sidecar:
    """Everything that the routes need, and the routes."""

    def __init__(self, engines: Engines, access: Access, *, instance: str) -> None:
        self._base = base = engines.base
        self._access = access
        self._instance = instance
        self._created = int(time.time())
        self._serving = engines.serving
        self._training = engines.training
        self.jobs = TrainingJobs(base, run=self._train)

    def app(self) -> Starlette:
        """The ASGI application."""
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/health", self._health),
            ("GET", "/v1/models", self._models),
            ("POST", "/v1/chat/completions", self._completions),
            ("POST", "/tokenize", self._tokenize),
            ("POST", "/v1/load_lora_adapter", self._load),
            ("POST", "/v1/unload_lora_adapter", self._unload),
            ("POST", "/training/adopt", self._adopt),
            ("POST", "/training/jobs", self._start_job),
            ("GET", "/training/jobs/{job_id}", self._get_job),
            ("GET", "/training/jobs/{job_id}/events", self._job_events),
            ("POST", "/training/jobs/{job_id}/cancel", self._cancel_job),
        ]
        if self._access.root is not None:
            routes += Transfers(self._access, base_digest=self._base.digest).routes()
        return Starlette(routes=[Route(path, self._guarded(handler), methods=[method])
                                 for method, path, handler in routes])  # fmt: skip

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                security.check(request, self._access)
                return await handler(request)
            except SidecarError as error:
                return JSONResponse(error.to_body(), status_code=error.http_status)

        return guarded

    async def _health(self, _: Request) -> Response:
        job, load = self.jobs.current(), self._serving.load()
        return JSONResponse(
            {
                "status": "ok",
                "protocol": PROTOCOL_VERSION,
                "instance": self._instance,
                "engine": self._serving.name,
                "training_engine": self._training.name,
                "base_model": self._base.name,
                "base_digest": self._base.digest,
                "tokenizer_digest": self._base.tokenizer_digest,
                "chat_template_digest": self._base.chat_template_digest,
                "context_length": self._base.context_length,
                "dtype": self._base.dtype,
                "models": ["base", *(one.name for one in self._serving.published)],
                "training": None if job is None else {"job_id": job},
                "stats": {
                    "requests_running": load.running,
                    "requests_waiting": load.waiting,
                    "generated_tokens": load.generated,
                    "peak_memory_bytes": peak_memory_bytes(),
                },
                **self._serving.health(),
            }
        )

    async def _models(self, _: Request) -> Response:
        common = {"object": "model", "created": self._created, "owned_by": "apprentice",
                  "max_model_len": self._base.context_length}  # fmt: skip
        data = [{"id": "base", "root": self._base.name, "parent": None, **common}]
        data += [{"id": one.name, "root": str(one.folder), "parent": "base", **common}
                 for one in self._serving.published]  # fmt: skip
        return JSONResponse({"object": "list", "data": data})

    async def _completions(self, request: Request) -> Response:
        wanted = parse(ChatRequest, await _body(request))
        answer = asyncio.ensure_future(self._answer(wanted))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else Response(status_code=499)
        finally:
            answer.cancel()
            gone.cancel()

    async def _answer(self, request: ChatRequest) -> Response:
        exchange = await self._serving.begin(request)
        if request.stream:
            return _Events(exchange)
        try:
            return JSONResponse(await exchange.answer())
        finally:
            exchange.cancel()

    async def _tokenize(self, request: Request) -> Response:
        ids = await self._serving.tokenize(parse(TokenizeRequest, await _body(request)))
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": self._base.context_length})

    async def _load(self, request: Request) -> Response:
        wanted = parse(LoadAdapter, await _body(request))
        folder = Path(self._access.folder(wanted.lora_path, "lora_path"))
        served = await self._serving.publish(wanted.lora_name, folder)
        return JSONResponse({"status": "published", "canary": served.canary})

    async def _unload(self, request: Request) -> Response:
        wanted = parse(UnloadAdapter, await _body(request))
        await self._serving.retire(wanted.lora_name)
        return JSONResponse({"status": "unloaded"})

    async def _adopt(self, request: Request) -> Response:
        wanted = parse(AdoptRequest, await _body(request))
        self._access.folder(wanted.source, "source")
        self._access.folder(wanted.adapter.folder, "adapter.folder")
        adapter = await asyncio.to_thread(lambda: adopt_adapter(self._base, wanted))
        return JSONResponse({"adapter": adapter})

    async def _start_job(self, request: Request) -> Response:
        body = await _body(request)
        job = await asyncio.to_thread(lambda: self._begin(parse(TrainingJobRequest, body)))
        return JSONResponse({"job_id": job.job_id, "status": job.status}, status_code=202)

    def _begin(self, wanted: TrainingJobRequest) -> Job:
        self._access.folder(wanted.adapter.folder, "adapter.folder")
        if wanted.adapter.parent is not None:
            self._access.folder(wanted.adapter.parent, "adapter.parent")
        return self.jobs.start(wanted)

    def _train(
        self, base: BaseModel, request: TrainingJobRequest, digest: str, is_cancelled: Callable[[], bool]
    ) -> Iterator[Event]:
        """A job's events; that it has ended is told once serving has its device back."""
        last: list[Event] = []
        with self._serving.lend_device():
            for event in run_job(base, request, digest, is_cancelled, build=self._training.build):
                if event["type"] == "ended":
                    last.append(event)
                else:
                    yield event
        yield from last

    async def _get_job(self, request: Request) -> Response:
        return JSONResponse(self.jobs.get(request.path_params["job_id"]).describe())

    async def _job_events(self, request: Request) -> Response:
        job = self.jobs.get(request.path_params["job_id"])
        after = request.query_params.get("after", "0")
        if not after.isdecimal():
            raise SidecarError("invalid_request", f"after is {after!r}.", fix="Give a whole number.", param="after")
        return StreamingResponse(self._follow(job, int(after)), media_type="text/event-stream")

    async def _follow(self, job: Job, after: int) -> AsyncIterator[str]:
        while True:
            running = job.status == "running"
            events = await asyncio.to_thread(self.jobs.wait_for_events, job, after, 10.0)
            for event in events:
                yield f"data: {json.dumps(event)}\n\n"
            after += len(events)
            if not events:
                if not running:
                    return
                yield ": still running\n\n"

    async def _cancel_job(self, request: Request) -> Response:
        self.jobs.cancel(request.path_params["job_id"])
        return JSONResponse({"status": "cancelling"})


async def _body(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, ClientDisconnect) as error:
        raise SidecarError("invalid_json", f"The body is not JSON: {error}.", fix="Send a JSON object.") from error


async def _disconnected(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)


class _Events(StreamingResponse):
    """The exchange's events. Leaving early, as an abandoned connection does, cancels it, even before the first one."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(_told(exchange), media_type="text/event-stream")
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exchange.cancel()


async def _told(exchange: Exchange) -> AsyncIterator[str]:
    try:
        async for event in exchange.events():
            yield event
    except SidecarError as error:
        yield f"data: {json.dumps(error.to_body())}\n\n"
