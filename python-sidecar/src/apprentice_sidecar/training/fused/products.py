"""Products with a frozen weight. On x86 oneDNN computes large ones, there a tenth faster than the BLAS of torch."""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor

#: Multiplications from which oneDNN is faster; below, what a call costs is more than it saves.
LARGE = 1 << 24

_linear: Any = torch.ops.mkldnn._linear_pointwise if torch.backends.mkldnn.is_available() else None
_FASTER = _linear is not None and platform.machine() in ("x86_64", "AMD64")


def times_transposed(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x · weightᵀ + bias: P × O, of `x`: P × I, `weight`: O × I, `bias`: O."""
    if _is_large(x, weight.shape[0]):
        return _linear.default(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


def times(gradient: Tensor, weight: Tensor, into: Tensor | None = None) -> Tensor:
    """gradient · weight, and `into` added, whose memory may be used: P × I, of `gradient`: P × O, `weight`: O × I."""
    if _is_large(gradient, weight.shape[1]):
        if into is None:
            return _linear.default(gradient, weight.t(), None, "none", [], "")
        return _linear.binary(gradient, into, weight.t(), None, "add")
    return gradient @ weight if into is None else into.addmm_(gradient, weight)


def _is_large(x: Tensor, outputs: int) -> bool:
    return _FASTER and x.numel() * outputs >= LARGE
