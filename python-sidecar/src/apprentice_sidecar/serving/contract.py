"""What the server needs of a serving engine; it knows no more of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import SidecarError
from ..protocol import ChatRequest, TokenizeRequest

EngineName = Literal["transformers", "vllm"]


@dataclass(frozen=True)
class PublishedAdapter:
    """A step that is served under its name, `name@step`."""

    name: str
    folder: Path
    digest: str
    #: gaps between the served and the trainer's logprobs, in nats
    canary: dict[str, float]


@dataclass(frozen=True)
class ServingLoad:
    """How busy an engine is."""

    running: int
    waiting: int
    #: tokens since the start of this process
    generated: int


class Exchange(Protocol):
    """One chat request on its way: read it to its end by one of the two, or cancel it."""

    async def answer(self) -> dict[str, Any]:
        """The whole answer. Raises SidecarError."""
        ...

    def events(self) -> AsyncIterator[str]:
        """The answer as server-sent events, `[DONE]` last. Raises SidecarError where it breaks off."""
        ...

    def cancel(self) -> None:
        """Ends what is still being made of it; does nothing once it has ended."""
        ...


class ServingEngine(Protocol):
    """Serves the base model and published steps. Its coroutines run on one event loop, that of `start`."""

    @property
    def name(self) -> EngineName:
        """Which engine it is."""
        ...

    @property
    def published(self) -> list[PublishedAdapter]:
        """The steps that new requests may name."""
        ...

    async def start(self) -> None:
        """Returns once it can answer. Raises SidecarError."""
        ...

    async def close(self) -> None:
        """Ends it; what is in flight fails."""
        ...

    def load(self) -> ServingLoad:
        """How busy it is."""
        ...

    def health(self) -> dict[str, Any]:
        """What `/health` says of it beyond what it says of every engine."""
        ...

    async def begin(self, request: ChatRequest) -> Exchange:
        """Takes a request on. Raises SidecarError where it is refused."""
        ...

    async def tokenize(self, request: TokenizeRequest) -> list[int]:
        """The ids of the messages; the same for every step. Raises SidecarError."""
        ...

    async def publish(self, name: str, folder: Path) -> PublishedAdapter:
        """Loads, verifies, runs the canary, publishes. Raises SidecarError and then serves what it served before."""
        ...

    async def retire(self, name: str) -> None:
        """Takes a step out of service; requests in flight on it finish. Raises SidecarError."""
        ...

    def lend_device(self) -> AbstractContextManager[None]:
        """Within it a training job has the device; entered and left in the job's thread. Raises SidecarError."""
        ...


def model_not_found(name: str) -> SidecarError:
    """The refusal of a chat request that names no published step."""
    return SidecarError(
        "model_not_found",
        f"The model {name!r} is not served.",
        fix="GET /v1/models lists what is.",
        http_status=404,
        param="model",
    )


def adapter_not_served(name: str) -> SidecarError:
    """The refusal to retire a step that is not published."""
    return SidecarError(
        "adapter_not_found",
        f"{name} is not served.",
        fix="GET /v1/models lists what is.",
        http_status=404,
        param="lora_name",
    )


def adapter_unloading(name: str) -> SidecarError:
    """The refusal to publish under a name whose last requests are still being answered."""
    return SidecarError(
        "adapter_unloading",
        f"{name} is being unloaded.",
        fix="Wait until its last request has ended.",
        http_status=409,
        param="lora_name",
    )
