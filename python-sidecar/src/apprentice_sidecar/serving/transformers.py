"""Our own engine behind the contract: the base model that is trained is served in the same process."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..base_model import BaseModel
from ..protocol import ChatRequest, TokenizeRequest
from .chat import ChatService, TokenExchange
from .contract import EngineName, PublishedAdapter, ServingLoad
from .engine import Engine


class TransformersServing:
    """See `ServingEngine`. It answers as soon as it is made."""

    name: EngineName = "transformers"

    def __init__(self, base: BaseModel) -> None:
        self._engine = Engine(base)
        self._chat = ChatService(base, self._engine)

    @property
    def published(self) -> list[PublishedAdapter]:
        """The steps that new requests may name."""
        return list(self._engine.names)

    async def start(self) -> None:
        """Nothing is to be waited for."""

    async def close(self) -> None:
        """Ends the engine's thread."""
        await asyncio.to_thread(self._engine.close)

    def load(self) -> ServingLoad:
        """Sequences and tokens."""
        return ServingLoad(self._engine.running, self._engine.waiting, self._engine.generated)

    def health(self) -> dict[str, Any]:
        """Nothing more: it lives as long as this process."""
        return {}

    async def begin(self, request: ChatRequest) -> TokenExchange:
        """Submits the request's sequences."""
        return self._chat.begin(request)

    async def tokenize(self, request: TokenizeRequest) -> list[int]:
        """As prompts are encoded."""
        return self._chat.tokenize(request)

    async def publish(self, name: str, folder: Path) -> PublishedAdapter:
        """Between two decode steps."""
        return await asyncio.wrap_future(self._engine.publish(name, folder))

    async def retire(self, name: str) -> None:
        """Between two decode steps."""
        await asyncio.wrap_future(self._engine.retire(name))

    def lend_device(self) -> AbstractContextManager[None]:
        """A job trains beside it: the two share the weights and take turns by the operating system's leave."""
        return nullcontext()
