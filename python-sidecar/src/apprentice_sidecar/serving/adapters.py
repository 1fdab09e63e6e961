"""The serving tree: the base model with every adapter step that is served. Used by the engine's thread only."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

from ..base_model import BaseModel, fork_tree
from ..checkpoints import AdapterCheckpoint, adapter_invalid, read_adapter
from ..marks import passing
from .contract import PublishedAdapter
from .forward import Forward, Piece, TransformersForward, layer_shapes
from .key_values import KeyValueStore
from .lean import LeanForward, fits
from .lora import lean_adapter
from .publishing import canary_of, compare_canary, published_before


@dataclass(frozen=True)
class ServedAdapter(PublishedAdapter):
    """A published step of this tree."""

    #: PEFT's key for it: module names may not hold dots
    key: str


class ServingTree:
    """Module tree of its own, so that training never shows in what is served."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._bare: Any = fork_tree(base.model)
        self._peft: Any = None
        self._active: str | None = None
        self._count = 0
        #: PEFT's keys by name, of adapters that are served or about to be
        self._keys: dict[str, str] = {}
        self.adapters: dict[str, ServedAdapter] = {}
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
        self._activate(None if adapter is None else self._keys[adapter])
        return self._bare(**inputs)

    def publish(self, name: str, folder: Path) -> ServedAdapter:
        """Loads, verifies, runs the canary, publishes. Raises SidecarError and then serves what it served before."""
        checkpoint = read_adapter(folder, expect_base_digest=self._base.digest)
        known = published_before(name, checkpoint, self.adapters.get(name))
        if known is not None:
            return known
        passing("publish-read")
        key = f"step{self._count}"
        self._count += 1
        try:
            self._attach(key, checkpoint)
            self._keys[name] = key
            lean = None if self._lean is None else lean_adapter(self._bare, key, len(checkpoint.tensors))
            if self._lean is not None and lean is not None:
                self._lean.add(name, lean)
            passing("publish-loaded")
            served = ServedAdapter(name, folder, checkpoint.digest, self._canary(name, checkpoint), key)
        except BaseException:
            self._forget(name, key)
            raise
        passing("publish-verified")
        self.adapters[name] = served
        passing("published")
        return served

    def drop(self, name: str) -> None:
        """Frees the weights of a step that nothing uses any more."""
        self._forget(name, self.adapters.pop(name).key)

    def _forget(self, name: str, key: str) -> None:
        self._keys.pop(name, None)
        if self._lean is not None:
            self._lean.remove(name)
        self._detach(key)

    def _activate(self, key: str | None) -> None:
        if key == self._active:
            return
        if key is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            if self._active is None:
                self._peft.base_model.enable_adapter_layers()
            self._peft.base_model.set_adapter(key)
        self._active = key

    def _attach(self, key: str, checkpoint: AdapterCheckpoint) -> None:
        fields = {field.name for field in dataclasses.fields(LoraConfig)}
        config = LoraConfig(**{name: value for name, value in checkpoint.config.items() if name in fields})
        if self._peft is None:
            self._peft = get_peft_model(self._bare, config, adapter_name=key)
            self._peft.eval()
            self._active = key
        else:
            self._peft.add_adapter(key, config)
            self._peft.eval()
        expected = {name: tuple(value.shape) for name, value in self._state(key).items()}
        found = {name: tuple(value.shape) for name, value in checkpoint.tensors.items()}
        if expected != found:
            odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
            raise adapter_invalid(
                checkpoint.folder, f"the tensor {odd} does not fit the base model and its configuration"
            )
        set_peft_model_state_dict(self._peft, checkpoint.tensors, adapter_name=key)
        loaded = self._state(key)
        if any(not torch.equal(loaded[name].cpu(), value) for name, value in checkpoint.tensors.items()):
            raise adapter_invalid(checkpoint.folder, "its tensors did not arrive in the model")

    def _state(self, key: str) -> dict[str, torch.Tensor]:
        return get_peft_model_state_dict(self._peft, adapter_name=key)

    def _detach(self, key: str) -> None:
        if self._peft is None or key not in self._peft.peft_config:
            return
        if self._active == key:
            others = [one.key for one in self.adapters.values() if one.key != key]
            self._activate(others[0] if others else None)
        if len(self._peft.peft_config) > 1:
            self._peft.delete_adapter(key)
        else:
            self._bare, self._peft, self._active = fork_tree(self._base.model), None, None

    def _canary(self, name: str, checkpoint: AdapterCheckpoint) -> dict[str, float]:
        """Gaps between the served and the trainer's logprobs of the canary; refuses too large ones."""
        canary = canary_of(checkpoint)
        served, base = (self._logprobs(one, canary.token_ids, canary.first).tolist() for one in (name, None))
        return compare_canary(canary, served, base, dtype=self._base.dtype)

    @torch.no_grad()
    def _logprobs(self, adapter: str | None, ids: list[int], first: int) -> torch.Tensor:
        """Logprobs of the tokens from `first` on, computed by what will serve them."""
        store = KeyValueStore(self.shapes, self.dtype, rows=1)
        store.ensure(len(ids))
        piece = Piece(0, 0, ids[:-1], adapter)
        logits = self.route(adapter).prefill(store, [piece], torch.arange(first - 1, len(ids) - 1))
        return torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(ids[first:])[:, None])[:, 0]


def _packs(base: BaseModel) -> bool:
    """Whether a copy of the weights in a layout for few rows pays: measured for float32 on x86."""
    return (
        base.dtype == "float32" and platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()
    )
