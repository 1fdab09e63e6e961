"""A policy of transformers and PEFT, on a module tree of its own that shares the base model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from torch.nn import Parameter

from ...base_model import BaseModel, fork_tree
from ...loss import token_logprobs
from ...packing import Pack
from ...protocol import Lora
from ..contract import TrainablePolicy, check_tensors
from ..fused import FusedPolicy, fits
from ..memory import peak_memory_bytes

#: Of longer packs only what goes between the layers is kept for the backward pass; the rest is computed twice.
RECOMPUTED_TOKENS = 4096


def build_policy(base: BaseModel, lora: Lora) -> TrainablePolicy:
    """A fresh adapter on the base model's weights, with the fastest pass that fits the model and the targets."""
    if fits(base, lora):
        return FusedPolicy(base, lora, lora_config(lora))
    return TransformersPolicy(base, lora)


class TransformersPolicy:
    """See `TrainablePolicy`; for every architecture, by the forward pass of transformers with a dense mask."""

    def __init__(self, base: BaseModel, lora: Lora) -> None:
        torch.manual_seed(lora.seed)
        self._model: Any = get_peft_model(fork_tree(base.model), lora_config(lora))  # pyright: ignore[reportArgumentType] -- PEFT's stub wants its own alias
        self._device = base.device
        self.isolates_rows = base.masks_isolate
        self._every_linear = lora.target_modules is None
        causal: Any = self._model.get_base_model()
        # Recomputed layers would drop out other numbers than the first pass did.
        self._recomputes = not getattr(causal.config, "attention_dropout", 0.0)
        causal.gradient_checkpointing_enable({"use_reentrant": False})
        self.parameters: Mapping[str, Parameter] = {
            name: value for name, value in self._model.named_parameters() if value.requires_grad
        }

    @property
    def configuration(self) -> Mapping[str, Any]:
        config = self._model.peft_config["default"].to_dict()
        targets: set[str] = set(config["target_modules"])
        if self._every_linear:
            # PEFT writes every layer's path down; the last part of the names says the same, to every reader.
            targets = {name.split(".")[-1] for name in targets}
        return config | {"target_modules": sorted(targets)}

    def logprobs(self, pack: Pack, *, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        causal: Any = self._model.get_base_model()
        device = self._device
        layout: dict[str, Tensor] = {}
        # A line without forks is plain causal attention, for which kernels are faster and need no mask.
        if self.isolates_rows and len(pack.parents) > 1:
            layout["position_ids"] = torch.tensor([pack.depths], device=device)
            layout["attention_mask"] = torch.from_numpy(pack.mask()).to(device)[None, None]
        ids = torch.tensor([pack.token_ids], device=device)
        # transformers recomputes layers in the backward pass only while it trains.
        causal.train(self._recomputes and len(pack.token_ids) > RECOMPUTED_TOKENS)
        hidden = causal.model(input_ids=ids, use_cache=False, **layout).last_hidden_state[0]
        sources = torch.tensor(pack.sources, device=device)
        targets = torch.tensor(pack.targets, device=device)
        return token_logprobs(
            hidden[sources],
            targets,
            lambda part: _capped(causal.lm_head(part), causal.config),
            entropy_gradient=entropy_gradient,
        )

    def without_adapter(self) -> AbstractContextManager[Any]:
        return self._model.disable_adapter()

    def tensors(self) -> Mapping[str, Tensor]:
        return get_peft_model_state_dict(self._model)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        check_tensors(self.tensors(), tensors)
        set_peft_model_state_dict(self._model, dict(tensors))

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes(self._device)


def _capped(logits: Tensor, config: Any) -> Tensor:
    """What some models do to the logits after the head: Cohere and Granite scale them, Gemma caps them softly."""
    scale = getattr(config, "logit_scale", None)
    if scale is not None:
        logits = logits * scale
    divisor = getattr(config, "logits_scaling", None)
    if divisor is not None:
        logits = logits / divisor
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def lora_config(lora: Lora) -> LoraConfig:
    """The adapter's configuration in PEFT's words; without `target_modules` every linear layer but the head."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType] -- PEFT divides by it; a float is right
        lora_dropout=0.0,
        bias="none",
        target_modules=lora.target_modules or "all-linear",
        task_type="CAUSAL_LM",
    )
