"""Keys and values of all sequences that are decoded: one row of preallocated memory each, written in place.

A head's keys lie in one run, so that attention reads them as fast as memory gives them. Memory comes from calloc: what
no token has touched takes no physical memory, however large the reservation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: Tokens that a row holds at first; it doubles as sequences get longer.
FIRST_CAPACITY = 256
_NUMPY = {torch.float32: np.float32, torch.bfloat16: np.uint16, torch.float16: np.uint16}


@dataclass(frozen=True)
class LayerShape:
    """Heads and their widths in one layer's cache."""

    heads: int
    key_width: int
    value_width: int

    @property
    def width(self) -> int:
        """Numbers kept for one token of one head, once for its key and once for its value."""
        return max(self.key_width, self.value_width)


class KeyValueStore:
    """`layers[l]`: rows × 2 (keys, values) × heads × capacity × width.

    `mask`: rows × capacity, 0 where a row has a token, −inf elsewhere.
    """

    def __init__(self, shapes: list[LayerShape], dtype: torch.dtype, rows: int) -> None:
        self.shapes = shapes
        self._dtype = dtype
        self._rows = rows
        self.capacity = FIRST_CAPACITY
        self.lengths = [0] * rows
        self._reserve()

    def ensure(self, length: int) -> None:
        """Makes room for `length` tokens in each row."""
        if length <= self.capacity:
            return
        old = self.layers
        while self.capacity < length:
            self.capacity *= 2
        self._reserve()
        for layer, before in zip(self.layers, old, strict=True):
            for row, count in enumerate(self.lengths):
                layer[row, :, :, :count] = before[row, :, :, :count]

    def release(self) -> None:
        """Gives memory back when no row is in use."""
        self.capacity = FIRST_CAPACITY
        self.lengths = [0] * self._rows
        self._reserve()

    def keys_values(self, layer: int, rows: slice | Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Views (or, where rows are picked one by one, copies) of rows × heads × length × width."""
        shape, part = self.shapes[layer], self.layers[layer]
        return part[rows, 0, :, :length, : shape.key_width], part[rows, 1, :, :length, : shape.value_width]

    def places(self, layer: int, rows: Tensor, positions: Tensor) -> Tensor:
        """Where N tokens, each given by its row and position, lie in `flat`: N · 2 · heads numbers."""
        heads = 2 * self.shapes[layer].heads
        numbers = rows[:, None] * heads + torch.arange(heads)
        return (numbers * self.capacity + positions[:, None]).flatten()

    def flat(self, layer: int) -> Tensor:
        """The layer as (rows · 2 · heads · capacity) × width, for writing."""
        return self.layers[layer].view(-1, self.shapes[layer].width)

    def commit(self, row: int, length: int) -> None:
        """Counts the tokens of a row as written."""
        self.mask[row, self.lengths[row] : length] = 0.0
        self.lengths[row] = length

    def copy_row(self, source: int, target: int) -> None:
        """Makes row `target` equal to row `source`."""
        count = self.lengths[source]
        for layer in self.layers:
            layer[target, :, :, :count] = layer[source, :, :, :count]
        self.clear(target)
        self.commit(target, count)

    def clear(self, row: int) -> None:
        """Forgets what a row holds."""
        self.mask[row, : self.lengths[row]] = float("-inf")
        self.lengths[row] = 0

    def read(self, row: int, start: int, end: int) -> list[Tensor]:
        """Copies of a row's tokens, one tensor (2 × heads × tokens × width) for each layer."""
        return [layer[row, :, :, start:end].clone() for layer in self.layers]

    def write(self, row: int, start: int, block: list[Tensor]) -> None:
        """Puts back what `read` gave."""
        for layer, values in zip(self.layers, block, strict=True):
            layer[row, :, :, start : start + values.shape[2]] = values

    def _reserve(self) -> None:
        self.layers = [
            _zeros((self._rows, 2, shape.heads, self.capacity, shape.width), self._dtype) for shape in self.shapes
        ]
        self.mask = torch.full((self._rows, self.capacity), float("-inf"), dtype=self._dtype)
        for row, count in enumerate(self.lengths):
            self.mask[row, :count] = 0.0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.zeros(shape, dtype=_NUMPY[dtype])).view(dtype)
