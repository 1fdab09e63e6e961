"""An adapter's matrices as the lean forward wants them, read from the modules that PEFT has loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


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


def lean_adapter(model: Any, key: str, tensors: int) -> LeanAdapter | None:
    """The adapter `key` in PEFT's tree, or None where it does more than the lean forward can (DoRA, biases, the head).

    `tensors`: how many the adapter's file holds; all must be found in decoder layers.
    """
    layers: list[LeanLayer] = []
    found = 0
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        groups = (
            [attention.q_proj, attention.k_proj, attention.v_proj],
            [attention.o_proj],
            [mlp.gate_proj, mlp.up_proj],
            [mlp.down_proj],
        )
        if any(_is_more_than_lora(module, key) for group in groups for module in group):
            return None
        found += 2 * sum(_has(module, key) for group in groups for module in group)
        layers.append(LeanLayer(*(_pair(group, key) for group in groups)))
    return LeanAdapter(layers) if found == tensors else None


def _has(module: Any, key: str) -> bool:
    return key in getattr(module, "lora_A", {})


def _is_more_than_lora(module: Any, key: str) -> bool:
    if not _has(module, key):
        return False
    variants = getattr(module, "lora_variant", {})
    return key in variants or module.lora_B[key].bias is not None


def _pair(modules: list[Any], key: str) -> LoraPair | None:
    """The pairs of projections that are one matrix, as one pair: side by side below, on the diagonal above."""
    present = [(module, _has(module, key)) for module in modules]
    if not any(has for _, has in present):
        return None
    downs: list[Tensor] = []
    ups: list[Tensor] = []
    for module, has in present:
        if has:
            downs.append(module.lora_A[key].weight.detach())
            ups.append(module.lora_B[key].weight.detach() * module.scaling[key])
        else:
            size = module.weight.shape
            downs.append(torch.zeros(0, size[1]))
            ups.append(torch.zeros(size[0], 0))
    dtype = modules[0].weight.dtype
    down = torch.cat(downs).t().contiguous().to(dtype)
    up = torch.block_diag(*ups).t().contiguous().to(dtype)
    return LoraPair(down, up)
