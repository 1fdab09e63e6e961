"""A policy on the base model's own tensors: no module tree of its own, no copy, no wrapper around a layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor
from torch.nn import Parameter

from ...base_model import BaseModel
from ...loss import matrix_logprobs
from ...packing import Pack
from ...protocol import Lora
from ..contract import check_tensors
from ..memory import peak_memory_bytes
from .adapter import Adapter, targeted
from .model import FusedModel, is_supported


def fits(base: BaseModel, lora: Lora) -> bool:
    """Whether this policy computes what the general one would, for this model and these targets."""
    causal: Any = base.model
    return is_supported(causal) and targeted(len(causal.model.layers), lora.target_modules) is not None


class FusedPolicy:
    """See `TrainablePolicy`; only where `fits` is true."""

    isolates_rows = True

    def __init__(self, base: BaseModel, lora: Lora, config: LoraConfig) -> None:
        causal: Any = base.model
        modules = targeted(len(causal.model.layers), lora.target_modules) or []
        self._device = base.device
        self._config = config
        self._targets = lora.target_modules or sorted({module.rsplit(".", 1)[1] for module in modules})
        self._adapter = Adapter(causal, modules, lora)
        self._head: Tensor = causal.lm_head.weight
        self._adapted = FusedModel(causal, self._adapter)
        self._bare = FusedModel(causal, None)
        self._active = self._adapted

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return self._adapter.parameters

    @property
    def configuration(self) -> Mapping[str, Any]:
        return self._config.to_dict() | {"target_modules": sorted(self._targets)}

    def logprobs(self, pack: Pack, *, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        hidden = self._active.hidden(pack)
        return matrix_logprobs(hidden, torch.tensor(pack.targets), self._head, entropy_gradient=entropy_gradient)

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        self._active = self._bare
        try:
            yield
        finally:
            self._active = self._adapted

    def tensors(self) -> Mapping[str, Tensor]:
        return self._adapter.tensors()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        check_tensors(self.tensors(), tensors)
        self._adapter.load(dict(tensors))

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes(self._device)
