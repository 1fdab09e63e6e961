"""The serving tree: the base model with every adapter step that is served. Used by the engine's thread only."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..base_model import BaseModel, fork_tree
from ..checkpoints import AdapterCheckpoint, adapter_invalid, read_adapter
from ..marks import passing
from ..peft_tree import peft_tree
from .contract import PublishedAdapter
from .forward import Forward, Piece, TransformersForward, layer_shapes
from .key_values import KeyValueStore
from .lean import LeanForward, fits
from .lora import lean_adapter
from .publishing import Canary, canary_of, compare_canary, published_before


class ServingTree:
    """Module trees of its own, so that training never shows in what is served."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        #: for the base model, and for each adapter that the lean forward cannot do: they share all base weights
        self._trees: dict[str | None, Any] = {None: fork_tree(base.model)}
        self.adapters: dict[str, PublishedAdapter] = {}
        self.dtype: torch.dtype = base.model.dtype
        self.shapes = layer_shapes(self._run)
        self._general = TransformersForward(self._run, base.model.config)
        self._lean = LeanForward(base.model, packed=_packs(base)) if fits(base.model) else None

    def route(self, adapter: str | None) -> Forward:
        """What computes an adapter's rows: the lean forward, or the model's own code where that is not enough."""
        if self._lean is not None and self._lean.serves(adapter):
            return self._lean
        return self._general

    def _run(self, adapter: str | None, **inputs: Any) -> Any:
        """The causal model's output under `adapter` (`name@step`), or under the base model."""
        return self._trees[adapter](**inputs)

    def publish(self, name: str, folder: Path) -> PublishedAdapter:
        """Loads, verifies, runs the canary, publishes. Raises SidecarError and then serves what it served before."""
        checkpoint = read_adapter(folder, expect_base_digest=self._base.digest)
        known = published_before(name, checkpoint, self.adapters.get(name))
        if known is not None:
            return known
        passing("publish-read")
        try:
            self._load(name, checkpoint)
            passing("publish-loaded")
            published = PublishedAdapter(name, folder, checkpoint.digest, self._canary(name, checkpoint))
        except BaseException:
            self._forget(name)
            raise
        passing("publish-verified")
        self.adapters[name] = published
        passing("published")
        return published

    def drop(self, name: str) -> None:
        """Frees the weights of a step that nothing uses any more."""
        del self.adapters[name]
        self._forget(name)

    def _load(self, name: str, checkpoint: AdapterCheckpoint) -> None:
        try:
            lean = None if self._lean is None else lean_adapter(self._base.model, checkpoint)
            if self._lean is not None and lean is not None:
                self._lean.add(name, lean)
            else:
                tree = peft_tree(self._base, checkpoint.config, checkpoint.tensors)
                self._trees[name] = tree.get_base_model()
        except ValueError as error:
            raise adapter_invalid(checkpoint.folder, str(error)) from error

    def _forget(self, name: str) -> None:
        self._trees.pop(name, None)
        if self._lean is not None:
            self._lean.remove(name)

    def _canary(self, name: str, checkpoint: AdapterCheckpoint) -> dict[str, float]:
        """Gaps between the served and the trainer's logprobs of the canary; refuses too large ones."""
        canary = canary_of(checkpoint)
        if self.route(name) is self.route(None):
            served, base = self._logprobs((name, None), canary)
        else:
            (served,), (base,) = self._logprobs((name,), canary), self._logprobs((None,), canary)
        return compare_canary(canary, served, base, dtype=self._base.dtype)

    @torch.no_grad()
    def _logprobs(self, adapters: Sequence[str | None], canary: Canary) -> list[list[float]]:
        """Logprobs of the canary's tokens under adapters of one forward, computed by what will serve them."""
        ids = canary.token_ids
        store = KeyValueStore(self.shapes, self.dtype, rows=len(adapters))
        store.ensure(len(ids))
        pieces = [Piece(row, 0, ids[:-1], adapter) for row, adapter in enumerate(adapters)]
        places = torch.arange(canary.first - 1, len(ids) - 1)
        wanted = torch.cat([places + row * (len(ids) - 1) for row in range(len(adapters))])
        logits = self.route(adapters[0]).prefill(store, pieces, wanted).view(len(adapters), len(places), -1)
        targets = torch.tensor(ids[canary.first :])[None, :, None].expand(len(adapters), -1, -1)
        return torch.log_softmax(logits, dim=-1).gather(-1, targets)[..., 0].tolist()


def _packs(base: BaseModel) -> bool:
    """Whether a copy of the weights in a layout for few rows pays: measured for float32 on x86."""
    return (
        base.dtype == "float32" and platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()
    )
