"""An adapter's matrices as the lean forward wants them, made of a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..checkpoints import AdapterCheckpoint, check_shapes
from .plain_lora import PlainLora, plain_lora

#: Projections of a decoder layer; those that read the same input are one matrix.
GROUPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
#: float32, in which adapters are scaled, holds all numbers of these.
_EXACT = frozenset({torch.float32, torch.float16, torch.bfloat16})


@dataclass(frozen=True)
class LoraPair:
    """What is added to a projection's output is `(x @ down) @ up`; the scaling is in `up`."""

    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class LeanLayer:
    """The pairs of one decoder layer; None where the adapter leaves a projection alone."""

    qkv: LoraPair | None
    output: LoraPair | None
    gate_up: LoraPair | None
    down: LoraPair | None


@dataclass(frozen=True)
class LeanAdapter:
    """An adapter of plain LoRA on the projections of decoder layers."""

    layers: list[LeanLayer]


def lean_adapter(model: Any, checkpoint: AdapterCheckpoint) -> LeanAdapter | None:
    """The adapter on a model that the lean forward fits, or None where it is more than plain LoRA on its projections.

    Raises ValueError where the tensors are not those that the configuration asks for.
    """
    plain = plain_lora(checkpoint.config)
    if plain is None or any(value.dtype not in _EXACT for value in checkpoint.tensors.values()):
        return None
    projections = _projections(model)
    targets = [name for name, _ in model.named_modules() if plain.targets(name)]
    # What else is targeted, the head for one, is PEFT's; so is the refusal where nothing is.
    if not targets or any(name not in projections for name in targets):
        return None
    expected: dict[str, tuple[int, ...]] = {}
    for name in targets:
        outputs, inputs = projections[name].shape
        down, up = _names(name)
        expected |= {down: (plain.rank, inputs), up: (outputs, plain.rank)}
    check_shapes(expected, checkpoint.tensors)
    device = model.model.embed_tokens.weight.device
    tensors = {name: value.to(device) for name, value in checkpoint.tensors.items()}
    return LeanAdapter(
        [
            LeanLayer(*(_pair([f"{layer}.{name}" for name in group], projections, tensors, plain) for group in GROUPS))
            for layer in _layers(model)
        ]
    )


def _layers(model: Any) -> list[str]:
    return [f"model.layers.{index}" for index in range(len(model.model.layers))]


def _projections(model: Any) -> dict[str, Tensor]:
    """Weights of all projections of decoder layers, by the modules' names."""
    names = [f"{layer}.{name}" for layer in _layers(model) for group in GROUPS for name in group]
    return {name: model.get_submodule(name).weight for name in names}


def _names(module: str) -> tuple[str, str]:
    """PEFT's names for a module's two matrices."""
    return f"base_model.model.{module}.lora_A.weight", f"base_model.model.{module}.lora_B.weight"


def _pair(
    group: Sequence[str], projections: dict[str, Tensor], tensors: dict[str, Tensor], plain: PlainLora
) -> LoraPair | None:
    """The pairs of projections that are one matrix, as one pair: side by side below, on the diagonal above."""
    downs: list[Tensor] = []
    ups: list[Tensor] = []
    for module in group:
        weight = projections[module]
        down, up = _names(module)
        if down in tensors:
            downs.append(tensors[down].float())
            ups.append(tensors[up].float() * plain.scaling)
        else:
            downs.append(weight.new_zeros(0, weight.shape[1], dtype=torch.float32))
            ups.append(weight.new_zeros(weight.shape[0], 0, dtype=torch.float32))
    if not any(len(down) for down in downs):
        return None
    dtype = projections[group[0]].dtype
    down = torch.cat(downs).t().contiguous().to(dtype)
    up = torch.block_diag(*ups).t().contiguous().to(dtype)
    return LoraPair(down, up)
