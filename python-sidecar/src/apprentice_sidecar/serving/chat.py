"""Our own engine's chat completions: a request to one or more sequences, their tokens to an answer or a stream."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from ..base_model import BaseModel
from ..errors import SidecarError
from ..protocol import ChatRequest, NamedToolChoice, TokenizeRequest
from .contract import model_not_found
from .engine import Engine, Sequence
from .grammar import Grammar, GrammarFactory
from .prompt import PromptMaker
from .sampling import SamplingSettings, seeded
from .text import TextStream
from .tools import CallReader, forced_tools, split_calls


class Choice:
    """One answer in the making, filled from the engine's thread and read from the event loop."""

    def __init__(self, index: int, stream: TextStream, tokenizer: Any) -> None:
        self.index = index
        self.stream = stream
        self._tokenizer = tokenizer
        self.logprobs: list[float] = []
        self.ended = False
        self.error: BaseException | None = None

    @property
    def finish_reason(self) -> str:
        """`stop` or `length`; tool calls are seen to by who reads the text."""
        return "stop" if self.stream.stopped else "length"

    def logprob_entries(self, start: int, end: int) -> list[dict[str, Any]]:
        """One OpenAI logprob entry for each id from `start` to `end`."""
        entries: list[dict[str, Any]] = []
        for token, logprob in zip(self.stream.ids[start:end], self.logprobs[start:end], strict=True):
            text = self._tokenizer.decode([token], skip_special_tokens=False)
            entries.append({"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": []})
        return entries


class ChatService:
    """Answers chat completion requests."""

    def __init__(self, base: BaseModel, engine: Engine) -> None:
        self._base = base
        self._engine = engine
        self._prompts = PromptMaker(base)
        self._grammars: GrammarFactory | None = None
        tokenizer: Any = base.tokenizer
        configured: Any = base.model.generation_config
        ends = getattr(configured, "eos_token_id", None)
        known = ends if isinstance(ends, list) else [ends]
        self._end_ids = frozenset(one for one in [*known, tokenizer.eos_token_id] if isinstance(one, int))

    def begin(self, request: ChatRequest) -> TokenExchange:
        """Validates, submits, and gives the exchange to read from. Raises SidecarError."""
        adapter = None if request.model == "base" else request.model
        if adapter is not None and not self._engine.serves(adapter):
            raise model_not_found(request.model)
        prompt = self._prompts.make(request)
        room = self._base.context_length - len(prompt)
        wanted = request.max_completion_tokens or request.max_tokens or room
        return TokenExchange(self, request, prompt, adapter, min(room, wanted))

    def tokenize(self, request: TokenizeRequest) -> list[int]:
        """The ids of the messages; the same for every adapter."""
        return self._prompts.encode(request)

    def grammar(self, request: ChatRequest) -> Grammar | None:
        """The grammar that a forced tool call or the response format asks for."""
        choice, wanted = request.tool_choice, request.response_format
        if choice == "required" or isinstance(choice, NamedToolChoice):
            name = choice.function.name if isinstance(choice, NamedToolChoice) else None
            return self._grammar_factory().tool_call(forced_tools(request.tools or [], name))
        if wanted is None or wanted.type == "text":
            return None
        schema = {"type": "object"} if wanted.json_schema is None else wanted.json_schema.json_schema
        return self._grammar_factory().json_schema(schema)

    def _grammar_factory(self) -> GrammarFactory:
        if self._grammars is None:
            self._grammars = GrammarFactory(self._base.tokenizer, int(self._base.model.config.vocab_size))
        return self._grammars

    def submit(self, exchange: TokenExchange, index: int) -> tuple[Choice, Sequence]:
        """Starts answer `index` of an exchange."""
        request = exchange.request
        choice = Choice(index, TextStream(self._base.tokenizer, self._end_ids, request.stops), self._base.tokenizer)

        def on_token(token: int, logprob: float) -> bool:
            choice.logprobs.append(logprob)
            more = choice.stream.push(token)
            exchange.notify()
            return more

        def on_end(error: BaseException | None) -> None:
            choice.error = error
            choice.ended = True
            exchange.notify()

        sequence = Sequence(
            adapter=exchange.adapter,
            prompt=exchange.prompt,
            max_tokens=exchange.max_tokens,
            sampling=SamplingSettings(
                request.temperature, request.top_p, seeded(request.seed, index, self._base.device)
            ),
            on_token=on_token,
            on_end=on_end,
            grammar=self.grammar(request),
        )
        self._engine.submit(sequence)
        return choice, sequence


class TokenExchange:
    """One request on its way. Reading it to the end or cancelling it is the caller's duty."""

    def __init__(
        self, service: ChatService, request: ChatRequest, prompt: list[int], adapter: str | None, max_tokens: int
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.adapter = adapter
        self.max_tokens = max_tokens
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}
        started = [service.submit(self, index) for index in range(request.n)]
        self._choices = [choice for choice, _ in started]
        self._sequences = [sequence for _, sequence in started]

    def notify(self) -> None:
        """Wakes the reader; called from the engine's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def cancel(self) -> None:
        """Ends the sequences between two tokens."""
        for sequence in self._sequences:
            sequence.cancelled.set()

    async def _wait(self) -> None:
        await self._news.wait()
        self._news.clear()
        for choice in self._choices:
            if choice.error is not None:
                raise SidecarError(
                    "engine_failed",
                    f"The engine failed on this request: {type(choice.error).__name__}: {choice.error}.",
                    fix="Try again; the log has the details.",
                    http_status=500,
                )

    async def answer(self) -> dict[str, Any]:
        """The whole answer."""
        while not all(choice.ended for choice in self._choices):
            await self._wait()
        body: dict[str, Any] = {
            **self._head,
            "object": "chat.completion",
            "choices": [self._whole(choice) for choice in self._choices],
            "usage": self._usage(),
        }
        if self.request.return_token_ids:
            body["prompt_token_ids"] = self.prompt
        return body

    def _whole(self, choice: Choice) -> dict[str, Any]:
        text, calls = self._split(choice.stream.text)
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
        if calls:
            message["tool_calls"] = [call.to_wire() for call in calls]
        reason = "tool_calls" if calls else choice.finish_reason
        whole: dict[str, Any] = {"index": choice.index, "message": message, "finish_reason": reason}
        whole["logprobs"] = None
        if self.request.logprobs:
            whole["logprobs"] = {"content": choice.logprob_entries(0, len(choice.stream.ids))}
        if self.request.return_token_ids:
            whole["token_ids"] = choice.stream.ids
        return whole

    @property
    def reads_calls(self) -> bool:
        """Whether the answer may hold tool calls."""
        return bool(self.request.tools) and self.request.tool_choice != "none"

    def _split(self, text: str) -> tuple[str, list[Any]]:
        return split_calls(text) if self.reads_calls else (text, [])

    def _usage(self) -> dict[str, int]:
        made = sum(len(choice.stream.ids) for choice in self._choices)
        return {"prompt_tokens": len(self.prompt), "completion_tokens": made, "total_tokens": len(self.prompt) + made}

    async def events(self) -> AsyncIterator[str]:
        """The answer as server-sent events, `[DONE]` last."""
        writers = [_ChunkWriter(self, choice) for choice in self._choices]
        first: dict[str, Any] = {"prompt_token_ids": self.prompt} if self.request.return_token_ids else {}
        for writer in writers:
            yield self._event([writer.opening()], **first)
            first = {}
        while not all(writer.closed for writer in writers):
            await self._wait()
            for writer in writers:
                for chunk in writer.chunks():
                    yield self._event([chunk])
        options = self.request.stream_options
        if options is not None and options.include_usage:
            yield self._event([], usage=self._usage())
        yield "data: [DONE]\n\n"

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps({**self._head, 'object': 'chat.completion.chunk', 'choices': choices, **more})}\n\n"


class _ChunkWriter:
    """What one choice has still to say. Text from a tool-call mark on waits until the answer is whole."""

    def __init__(self, exchange: TokenExchange, choice: Choice) -> None:
        self._exchange = exchange
        self._choice = choice
        self._reader = CallReader() if exchange.reads_calls else None
        self._said_text = 0
        self._said_ids = 0
        self.closed = False

    def opening(self) -> dict[str, Any]:
        return {"index": self._choice.index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}

    def chunks(self) -> list[dict[str, Any]]:
        if self.closed:
            return []
        ended = self._choice.ended
        text = self._choice.stream.text if ended else self._choice.stream.settled
        count = len(self._choice.stream.ids)
        if not ended:
            visible = self._visible(text)
            return [self._chunk({"content": visible}, count, None)] if visible or count > self._said_ids else []
        self.closed = True
        rest, calls = (self._visible(text), []) if self._reader is None else self._reader.rest(text)
        wire = [{"index": place, **call.to_wire()} for place, call in enumerate(calls)]
        delta: dict[str, Any] = {"tool_calls": wire} if calls else {"content": rest}
        return [self._chunk(delta, count, "tool_calls" if calls else self._choice.finish_reason)]

    def _visible(self, text: str) -> str:
        if self._reader is not None:
            return self._reader.visible(text)
        visible = text[self._said_text :]
        self._said_text += len(visible)
        return visible

    def _chunk(self, delta: dict[str, Any], count: int, reason: str | None) -> dict[str, Any]:
        start, self._said_ids = self._said_ids, count
        chunk: dict[str, Any] = {"index": self._choice.index, "delta": delta, "finish_reason": reason}
        if self._exchange.request.logprobs:
            chunk["logprobs"] = {"content": self._choice.logprob_entries(start, count)}
        if self._exchange.request.return_token_ids:
            chunk["token_ids"] = self._choice.stream.ids[start:count]
        return chunk
