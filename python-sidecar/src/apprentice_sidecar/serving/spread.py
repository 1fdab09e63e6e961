"""Which parts of a step are worth several threads: of a decode step, a short prompt, or the draw of few tokens.

To wake a sleeping thread takes 50 µs or more: longer than most parts of a step take on one. A step therefore runs on
one thread, and wakes the others for its large products alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .linear import Linear

#: Multiplications from which several threads are faster.
LARGE = 1 << 20


class Spread:
    """Of one step: on one thread inside `with`, but for what is given to it. Afterwards there are as many as before."""

    def __init__(self) -> None:
        self._threads = torch.get_num_threads()

    def __enter__(self) -> Spread:
        self._set(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self._threads)

    def multiply(self, linear: Linear, x: Tensor) -> Tensor:
        """linear(x): N × O."""
        return self.run(x.numel() * linear.outputs, linear, x)

    def run(self, work: int, function: Callable[..., Any], *given: Any) -> Any:
        """function(*given), which takes `work` multiplications."""
        if self._threads == 1 or work < LARGE:
            return function(*given)
        torch.set_num_threads(self._threads)
        try:
            return function(*given)
        finally:
            torch.set_num_threads(1)

    def _set(self, threads: int) -> None:
        if self._threads > 1:
            torch.set_num_threads(threads)
