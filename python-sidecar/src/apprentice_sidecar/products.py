"""Products with a frozen weight, by whichever library is faster.

The BLAS of torch is MKL on x86. On Intel's processors oneDNN computes large products a tenth faster; on others MKL
leaves half of the processor unused (Zen 5: 205 GFLOPS beside 480 on two cores), and small ones gain by it, too.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_linear: Any = torch.ops.mkldnn._linear_pointwise if torch.backends.mkldnn.is_available() else None
_FASTER = _linear is not None and platform.machine() in ("x86_64", "AMD64")


def large_from(processor: str) -> int:
    """Multiplications from which oneDNN is faster, on a processor that says this of itself: `/proc/cpuinfo`.

    Below, what a call costs, 9 µs on Zen 5 and 25 on Sapphire Rapids, is more than it saves.
    """
    other = "vendor_id" in processor and "GenuineIntel" not in processor
    return 1 << 20 if other else 1 << 24


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()[:4096]
    except OSError:
        return ""


LARGE = large_from(_processor())


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
