"""Projections in the memory layout that multiplies few rows fastest.

A decode step reads every weight for a handful of rows, so its time is that of reading memory. Where float16 holds a
matrix without loss, as it holds what was published in 16 bits or fewer, it is kept so: half of the bytes, each widened
to float32 in a register before it is multiplied. Others are copied into oneDNN's float32 layout, small ones for many
rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..products import LARGE

#: Multiplications from which such a copy pays of a small matrix: half as many as without one.
SMALL_FROM = LARGE // 2
#: Numbers in a matrix from which a layout of its own pays for a single row; below, calling costs more than it saves.
PACK_FROM = 1 << 17
#: What rounding to float16 may change: half of a step among the smallest numbers, far below float32's own rounding of a
#: sum of usual weights. bfloat16's numbers of usual size are all exact; its tiny ones fall into this.
LOSSLESS = 2.0**-25


class Linear:
    """One or more projections of the same input, as one matrix. `packed`: large ones as a copy in a better layout."""

    def __init__(self, modules: Sequence[Any], *, packed: bool) -> None:
        weights = [module.weight.detach() for module in modules]
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        biases = [module.bias.detach() for module in modules if module.bias is not None]
        bias = torch.cat(biases) if biases else None
        self.outputs = int(weight.shape[0])
        self._multiply = _layout(weight, bias, packed)

    def __call__(self, x: Tensor) -> Tensor:
        return self._multiply(x)


def fits_float16(weight: Tensor) -> bool:
    """Whether float16 holds all numbers of a float32 matrix, but for what `LOSSLESS` allows."""
    # In slices: the differences of a whole embedding would take its memory twice more.
    return all(bool(((part - part.half()).abs_() <= LOSSLESS).all()) for part in weight.split(4096))


def _layout(weight: Tensor, bias: Tensor | None, packed: bool) -> Callable[[Tensor], Tensor]:
    if not packed:
        return lambda x: F.linear(x, weight, bias)
    is_small = weight.numel() < PACK_FROM
    if "fbgemm" in torch.backends.quantized.supported_engines and not is_small and fits_float16(weight):
        halves: Any = torch.ops.quantized.linear_prepack_fp16(weight, bias)
        multiply: Any = torch.ops.quantized.linear_dynamic_fp16.default
        return lambda x: multiply(x, halves)
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    linear: Any = torch.ops.mkldnn._linear_pointwise.default

    def by_rows(x: Tensor) -> Tensor:
        if is_small and x.numel() * len(weight) < SMALL_FROM:
            return F.linear(x, weight, bias)
        return linear(x, reordered, bias, "none", [], "")

    return by_rows
