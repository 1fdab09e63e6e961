"""A server in vLLM's dialect that can be told to misbehave, as its own process: for what vLLM cannot do on a CPU.

`python vllm_dialect.py [--replicas N] [--boot-seconds S] [--port N]` prints its port; vLLM's other options are taken
and left alone. Its key comes as VLLM_API_KEY, as for vLLM. What it answers is checked by `test_vllm_dialect.py`, which
also runs against a real vLLM. It holds no model: token ids are made from a digest of the prompt and of the adapter's
weights, so that two adapters answer differently, and the logprobs of an adapter's canary are those of its manifest.

`POST /test/faults` takes, each as a number of times or as true for always: `refuse_load` (409), `stuck_sleep` (says
done, stays awake), `stuck_wake` (says done, stays asleep), `lose_adapters` (on waking), `wrong_logprobs` (as if an
adapter did nothing), `dead` (503 everywhere). `POST /test/crash` ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

BASE = "base"


def refusal(status: int, kind: str, message: str, param: str | None = None) -> Response:
    """An error as vLLM words it."""
    error = {"message": message, "type": kind, "param": param, "code": status}
    return JSONResponse({"error": error}, status_code=status)


class Dialect:
    """The state of all replicas; adapters are loaded into one replica at a time, as vLLM's front does it."""

    def __init__(self, replicas: int) -> None:
        self.adapters: list[dict[str, str]] = [{} for _ in range(replicas)]
        self.turn = itertools.cycle(range(replicas))
        self.sleeping = False
        self.awake = asyncio.Event()
        self.awake.set()
        self.faults: dict[str, bool | int] = {}
        self.created = int(time.time())

    def strikes(self, fault: str) -> bool:
        """Whether the fault happens now."""
        left = self.faults.get(fault, 0)
        if left is not True and left > 0:
            self.faults[fault] = left - 1
        return bool(left)

    def app(self) -> Starlette:
        """The routes, behind the key."""
        routes = [
            Route("/health", self.health),
            Route("/v1/models", self.models),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
            Route("/tokenize", self.tokenize, methods=["POST"]),
            Route("/reset_prefix_cache", self.reset, methods=["POST"]),
            Route("/v1/load_lora_adapter", self.load, methods=["POST"]),
            Route("/v1/unload_lora_adapter", self.unload, methods=["POST"]),
            Route("/sleep", self.sleep, methods=["POST"]),
            Route("/wake_up", self.wake, methods=["POST"]),
            Route("/is_sleeping", self.is_sleeping),
            Route("/pause", self.pause, methods=["POST"]),
            Route("/resume", self.resume, methods=["POST"]),
            Route("/is_paused", self.is_paused),
            Route("/test/faults", self.set_faults, methods=["POST"]),
            Route("/test/crash", self.crash, methods=["POST"]),
        ]
        app = Starlette(routes=routes)
        app.add_middleware(BaseHTTPMiddleware, dispatch=self.guard)
        return app

    async def guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        path = request.url.path
        key = os.environ.get("VLLM_API_KEY")
        if key and path.startswith("/v1") and request.headers.get("authorization") != f"Bearer {key}":
            return JSONResponse({"error": "Unauthorized"}, status_code=401)
        if not path.startswith("/test/") and self.strikes("dead"):
            return Response(status_code=503)
        return await call_next(request)

    async def health(self, _: Request) -> Response:
        return Response()

    async def models(self, _: Request) -> Response:
        common = {"object": "model", "created": self.created, "owned_by": "vllm"}
        data = [{"id": BASE, "root": BASE, "parent": None, "max_model_len": 2048, **common}]
        data += [{"id": name, "root": path, "parent": BASE, "max_model_len": None, **common}
                 for name, path in self.adapters[next(self.turn)].items()]  # fmt: skip
        return JSONResponse({"object": "list", "data": data})

    async def load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body.get("lora_name"), body.get("lora_path")
        if not name or not path:
            return refusal(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if self.strikes("refuse_load"):
            return refusal(409, "ConflictError", "The engine is updating its weights.")
        replica = self.adapters[next(self.turn)]
        if name in replica:
            return refusal(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        if not (Path(path) / "adapter_config.json").is_file():
            return refusal(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
        replica[name] = path
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: Request) -> Response:
        name = (await request.json()).get("lora_name")
        if self.adapters[next(self.turn)].pop(name, None) is None:
            return refusal(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def sleep(self, _: Request) -> Response:
        if not self.strikes("stuck_sleep"):
            self.sleeping = True
            self.awake.clear()
        return Response()

    async def wake(self, _: Request) -> Response:
        if self.sleeping and self.strikes("lose_adapters"):
            self.adapters = [{} for _ in self.adapters]
        if self.strikes("stuck_wake"):
            return Response()
        self.sleeping = False
        self.awake.set()
        return Response()

    async def is_sleeping(self, _: Request) -> Response:
        return JSONResponse({"is_sleeping": self.sleeping})

    async def pause(self, _: Request) -> Response:
        self.awake.clear()
        return JSONResponse({"status": "paused"})

    async def resume(self, _: Request) -> Response:
        self.awake.set()
        return JSONResponse({"status": "resumed"})

    async def is_paused(self, _: Request) -> Response:
        return JSONResponse({"is_paused": not self.awake.is_set()})

    async def set_faults(self, request: Request) -> Response:
        self.faults = await request.json()
        return JSONResponse(self.faults)

    async def crash(self, _: Request) -> Response:
        os._exit(1)

    async def reset(self, _: Request) -> Response:
        return JSONResponse({"success": True})

    async def tokenize(self, request: Request) -> Response:
        ids = prompt_of(await request.json())
        return JSONResponse({"count": len(ids), "max_model_len": 2048, "tokens": ids, "token_strs": None})

    async def complete(self, request: Request) -> Response:
        """One token after a prompt of ids: the only one that may be sampled, with its logprob."""
        body = await request.json()
        model, ids = body.get("model", BASE), body["prompt"]
        loaded = self.adapters[next(self.turn)]
        if model != BASE and model not in loaded:
            return refusal(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        await self.awake.wait()
        (token,) = body.get("allowed_token_ids") or [0]
        value = -1.0
        if model != BASE and not self.strikes("wrong_logprobs"):
            canary = json.loads((Path(loaded[model]) / "manifest.json").read_text())["canary"]
            place = len(ids) - canary["first"]
            if 0 <= place < len(canary["logprobs"]) and canary["token_ids"][: len(ids) + 1] == [*ids, token]:
                value = canary["logprobs"][place]
        text = text_of([token])
        logprobs = {"text_offset": [0], "token_logprobs": [value], "tokens": [text], "top_logprobs": [{text: value}]}
        choice = {"index": 0, "text": text, "logprobs": logprobs if "logprobs" in body else None,
                  "finish_reason": "length"}  # fmt: skip
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1, "total_tokens": len(ids) + 1}
        return JSONResponse({"id": "cmpl-1", "object": "text_completion", "created": self.created, "model": model,
                             "choices": [choice], "usage": usage})  # fmt: skip

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        model = body.get("model", BASE)
        loaded = self.adapters[next(self.turn)]
        if model != BASE and model not in loaded:
            return refusal(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        await self.awake.wait()
        weights = b""
        if model != BASE:
            weights = (Path(loaded[model]) / "adapter_model.safetensors").read_bytes()
        prompt = prompt_of(body)
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        answers = [tokens_of(weights, prompt, wanted, index) for index in range(body.get("n") or 1)]
        if body.get("stream"):
            return StreamingResponse(self.chunks(body, model, prompt, answers), media_type="text/event-stream")
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text_of(ids), "tool_calls": [], "reasoning": None},
                "logprobs": logprobs_of(ids) if body.get("logprobs") else None,
                "finish_reason": "length",
                "stop_reason": None,
                "token_ids": ids if body.get("return_token_ids") else None,
            }
            for index, ids in enumerate(answers)
        ]
        made = sum(len(ids) for ids in answers)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": made, "total_tokens": len(prompt) + made}
        ids = prompt if body.get("return_token_ids") else None
        return JSONResponse({"id": "chatcmpl-1", "object": "chat.completion", "created": self.created, "model": model,
                             "choices": choices, "usage": usage, "prompt_token_ids": ids})  # fmt: skip

    async def chunks(
        self, body: dict[str, Any], model: str, prompt: list[int], answers: list[list[int]]
    ) -> AsyncIterator[str]:
        """The first chunk carries the prompt's ids, each later one what is new."""
        common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": self.created, "model": model}
        with_ids = bool(body.get("return_token_ids"))
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        yield said({**common, "choices": [first], "prompt_token_ids": prompt if with_ids else None})
        for index, ids in enumerate(answers):
            for place, token in enumerate(ids):
                choice = {
                    "index": index,
                    "delta": {"content": text_of([token])},
                    "logprobs": logprobs_of([token]) if body.get("logprobs") else None,
                    "finish_reason": "length" if place == len(ids) - 1 else None,
                    "token_ids": [token] if with_ids else None,
                }
                yield said({**common, "choices": [choice]})
        yield "data: [DONE]\n\n"


def prompt_of(body: dict[str, Any]) -> list[int]:
    return list(json.dumps(body["messages"]).encode())


def said(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


def tokens_of(weights: bytes, prompt: list[int], count: int, index: int) -> list[int]:
    digest = hashlib.sha256(weights + bytes(prompt) + bytes([index])).digest()
    return [digest[place % len(digest)] for place in range(count)]


def text_of(ids: list[int]) -> str:
    return "".join(chr(ord("a") + token % 26) for token in ids)


def logprobs_of(ids: list[int]) -> dict[str, Any]:
    entries = [(text_of([token]), -(token % 7) / 8) for token in ids]
    return {"content": [{"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []}
                        for text, logprob in entries]}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--boot-seconds", type=float, default=0.0)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_known_args()[0]
    listener = socket.socket()
    listener.bind(("127.0.0.1", options.port))
    print(listener.getsockname()[1], flush=True)
    time.sleep(options.boot_seconds)
    listener.listen(128)
    config = uvicorn.Config(Dialect(options.replicas).app(), log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
