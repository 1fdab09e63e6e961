"""The engine: one thread that owns the serving tree, admits requests, decodes them together and reports tokens."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..base_model import BaseModel
from ..marks import passing
from .adapters import ServingTree
from .batch import Batch, Slot
from .contract import PublishedAdapter, adapter_not_served, adapter_unloading
from .grammar import Grammar
from .sampling import SamplingSettings, sample
from .threads import ThreadChoice

#: Sequences that are decoded together; more wait.
MAX_BATCH = 64
#: How long an idle engine waits for company after a first request, seconds.
GATHER_SECONDS = 0.002

T = TypeVar("T")


@dataclass
class Sequence:
    """One answer being made. `on_token(id, logprob)` gives False to end it; `on_end(error)` comes once."""

    adapter: str | None
    prompt: list[int]
    max_tokens: int
    sampling: SamplingSettings
    on_token: Callable[[int, float], bool]
    on_end: Callable[[BaseException | None], None]
    grammar: Grammar | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    made: int = 0
    #: the token that was sampled last and not yet fed
    pending: int = -1


class Engine:
    """Start it, submit sequences, run commands between decode steps, close it."""

    def __init__(self, base: BaseModel) -> None:
        self._device = base.device
        with self._device:
            self._tree = ServingTree(base)
            self._batch = self._new_batch()
        self._wake = threading.Condition()
        self._waiting: deque[Sequence] = deque()
        self._commands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._retired: set[str] = set()
        self._threads = ThreadChoice()
        self._open = True
        self.generated = 0
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def names(self) -> list[PublishedAdapter]:
        """The published steps."""
        return [one for name, one in list(self._tree.adapters.items()) if name not in self._retired]

    def serves(self, adapter: str) -> bool:
        """Whether new requests may name this step."""
        return adapter in self._tree.adapters and adapter not in self._retired

    @property
    def running(self) -> int:
        """Sequences being decoded."""
        return len(self._batch.slots)

    @property
    def waiting(self) -> int:
        """Sequences not yet admitted."""
        return len(self._waiting)

    def submit(self, sequence: Sequence) -> None:
        """Queues a sequence; its callbacks come from the engine's thread."""
        with self._wake:
            self._waiting.append(sequence)
            self._wake.notify()

    def publish(self, name: str, folder: Path) -> Future[PublishedAdapter]:
        """Loads, verifies and publishes a step between two decode steps."""

        def command() -> PublishedAdapter:
            if name in self._retired:
                raise adapter_unloading(name)
            return self._tree.publish(name, folder)

        return self._command(command)

    def retire(self, name: str) -> Future[None]:
        """Takes a step out of service; requests in flight on it finish."""

        def command() -> None:
            if not self.serves(name):
                raise adapter_not_served(name)
            passing("retiring")
            self._retired.add(name)

        return self._command(command)

    def close(self) -> None:
        """Ends the thread; what is in flight fails."""
        with self._wake:
            self._open = False
            self._wake.notify()
        self._thread.join(timeout=5)

    def _command(self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._wake:
            self._commands.append((function, future))
            self._wake.notify()
        return future

    @torch.inference_mode()
    def _work(self) -> None:
        # Whatever this thread makes lies where the weights lie. The CPU is the default, and asking for it costs time.
        with contextlib.nullcontext() if self._device.type == "cpu" else self._device:
            self._serve()

    def _serve(self) -> None:
        while self._open:
            if not self._wait_for_work():
                continue
            self._run_commands()
            self._admit()
            self._decode()
            self._drop_retired()

    def _wait_for_work(self) -> bool:
        with self._wake:
            if self._waiting or self._commands or self.running:
                return True
            self._wake.wait(timeout=1.0)
            idle = not (self._waiting or self._commands)
        if not idle:
            time.sleep(GATHER_SECONDS)
        return not idle

    def _run_commands(self) -> None:
        while self._commands:
            function, future = self._commands.popleft()
            # The last decode step may have left one: a canary is a prompt.
            self._threads.most()
            try:
                # Weights are loaded as ordinary tensors: PEFT marks them as trainable.
                with torch.inference_mode(False), torch.no_grad():
                    future.set_result(function())
            except Exception as error:  # handed to the caller
                future.set_exception(error)

    def _new_batch(self) -> Batch:
        return Batch(self._tree.route, self._tree.shapes, self._tree.dtype, rows=MAX_BATCH)

    def _admit(self) -> None:
        fresh: list[Sequence] = []
        with self._wake:
            while self._waiting and self.running + len(fresh) < MAX_BATCH:
                fresh.append(self._waiting.popleft())
        live = [one for one in fresh if not self._ended_early(one)]
        if live:
            self._prefill(live)

    def _ended_early(self, sequence: Sequence) -> bool:
        if sequence.cancelled.is_set():
            sequence.on_end(None)
            return True
        return False

    def _prefill(self, sequences: list[Sequence]) -> None:
        first = self.running
        self._threads.most()
        try:
            logits = self._batch.join([Slot(list(one.prompt), one.adapter, one) for one in sequences])
        except Exception as error:  # one bad prompt must not take the engine down
            traceback.print_exc()
            for sequence in sequences:
                sequence.on_end(error)
            return
        self._take(logits, list(range(first, first + len(sequences))))

    def _decode(self) -> None:
        self._end([row for row, slot in enumerate(self._batch.slots) if slot.owner.cancelled.is_set()])
        if not self._batch.slots:
            return
        rows, started = self.running, time.perf_counter()
        self._threads.begin(rows)
        try:
            logits = self._batch.step([slot.owner.pending for slot in self._batch.slots])
        except Exception as error:  # reported to every request of the batch
            traceback.print_exc()
            self._fail(error)
            return
        self._threads.end(rows, time.perf_counter() - started)
        self._take(logits, list(range(len(self._batch.slots))))

    def _take(self, logits: torch.Tensor, rows: list[int]) -> None:
        """Samples the next token of `rows` from their logits; ends those that are done."""
        passing("answering")
        owners: list[Sequence] = [self._batch.slots[row].owner for row in rows]
        masks = [None if owner.grammar is None else owner.grammar.allowed() for owner in owners]
        tokens, logprobs = sample(logits, [owner.sampling for owner in owners], masks)
        done: list[int] = []
        for row, owner, token, logprob in zip(rows, owners, tokens, logprobs, strict=True):
            if owner.grammar is not None:
                owner.grammar.consume(token)
            owner.pending = token
            owner.made += 1
            if not owner.on_token(token, logprob) or owner.made >= owner.max_tokens:
                done.append(row)
        self.generated += len(rows)
        self._end(done)

    def _end(self, rows: list[int]) -> None:
        if not rows:
            return
        owners: list[Sequence] = [self._batch.slots[row].owner for row in rows]
        self._batch.leave(rows)
        for owner in owners:
            owner.on_end(None)

    def _fail(self, error: Exception) -> None:
        """Gives up what is being decoded, and whatever the failure may have left half written."""
        owners: list[Sequence] = [slot.owner for slot in self._batch.slots]
        self._batch = self._new_batch()
        for owner in owners:
            owner.on_end(error)

    def _drop_retired(self) -> None:
        for name in list(self._retired):
            busy = any(slot.adapter == name for slot in self._batch.slots) or any(
                one.adapter == name for one in list(self._waiting)
            )
            if not busy:
                self._tree.drop(name)
                self._batch.forget(name)
                self._retired.discard(name)
