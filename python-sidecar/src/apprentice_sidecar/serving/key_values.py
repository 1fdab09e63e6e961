"""Keys and values of all sequences that are decoded: one row of preallocated memory each, written in place.

A head's keys lie in one run, so that attention reads them as fast as memory gives them. Memory is mapped from the
system: what no token has touched takes no physical memory, however large the reservation, and nothing writes zeros.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass

import torch
from torch import Tensor

#: Tokens that a row holds at first; it doubles as sequences get longer.
FIRST_CAPACITY = 256


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

    @property
    def numbers(self) -> int:
        """Numbers kept for one token."""
        return 2 * self.heads * self.width


@dataclass(frozen=True)
class Loan:
    """A row's first `tokens` tokens lie in row `source` alone."""

    source: int
    tokens: int


@dataclass(frozen=True)
class Run:
    """Neighbouring rows, and where their first tokens lie where they share them."""

    rows: slice
    loan: Loan | None


class KeyValueStore:
    """`layers[l]`: rows × 2 (keys, values) × heads × capacity × width.

    `mask`: rows × capacity, 0 where a row has a token, −inf elsewhere. A row may borrow its first tokens from another
    one, which is for forwards that know of it (`runs`); whatever else is asked of it is answered as if it had them.
    It lies on torch's default device, which the engine sets to that of the weights.
    """

    def __init__(self, shapes: list[LayerShape], dtype: torch.dtype, rows: int) -> None:
        self.shapes = shapes
        self._dtype = dtype
        self._rows = rows
        self.capacity = FIRST_CAPACITY
        self.lengths = [0] * rows
        self._loans: dict[int, Loan] = {}
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
                own = slice(self._borrowed(row), count)
                layer[row, :, :, own] = before[row, :, :, own]

    def release(self) -> None:
        """Gives the memory of long sequences back when no row is in use."""
        if self.capacity == FIRST_CAPACITY:
            return
        self.capacity = FIRST_CAPACITY
        self._reserve()

    def keys_values(self, layer: int, rows: slice | Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Views (or, where rows are picked one by one, copies) of rows × heads × length × width."""
        shape, (keys, values) = self.shapes[layer], self._halves[layer]
        if shape.key_width != shape.value_width:
            return keys[rows, :, :length, : shape.key_width], values[rows, :, :length, : shape.value_width]
        return keys[rows, :, :length], values[rows, :, :length]

    def places(self, layer: int, rows: Tensor, positions: Tensor) -> Tensor:
        """Where N tokens, each given by its row and position, lie in `flat`: N · 2 · heads numbers."""
        heads = 2 * self.shapes[layer].heads
        numbers = rows[:, None] * heads + torch.arange(heads)
        return (numbers * self.capacity + positions[:, None]).flatten()

    def flat(self, layer: int) -> Tensor:
        """The layer as (rows · 2 · heads · capacity) × width, for writing."""
        return self._flat[layer]

    def commit(self, row: int, length: int) -> None:
        """Counts the tokens of a row as written."""
        self.mask[row, self.lengths[row] : length] = 0.0
        self.lengths[row] = length

    def commit_one_each(self, rows: int) -> None:
        """Counts one more token as written in each of the first rows."""
        self.mask[torch.arange(rows), torch.tensor(self.lengths[:rows])] = 0.0
        self.lengths[:rows] = [length + 1 for length in self.lengths[:rows]]

    def copy_row(self, source: int, target: int) -> None:
        """Makes row `target`, which is free, equal to row `source`, which borrows nothing."""
        count = self.lengths[source]
        for layer in self.layers:
            layer[target, :, :, :count] = layer[source, :, :, :count]
        self.commit(target, count)

    def borrow_row(self, source: int, target: int) -> None:
        """Makes row `target`, which is free, begin with all that row `source` has now, without a copy."""
        count = self.lengths[source]
        self._loans[target] = Loan(source, count)
        self.commit(target, count)

    def move_row(self, source: int, target: int) -> None:
        """Puts row `source` in the place of row `target`, whose content goes."""
        self.clear(target)
        count, loan = self.lengths[source], self._loans.get(source)
        own = slice(self._borrowed(source), count)
        for layer in self.layers:
            layer[target, :, :, own] = layer[source, :, :, own]
        self.commit(target, count)
        if loan is not None:
            self._loans[target] = loan
        for row in self._borrowers(source):
            self._loans[row] = Loan(target, self._loans[row].tokens)
        self.clear(source)

    def clear(self, row: int) -> None:
        """Forgets what a row holds; one of those that borrow from it takes over what they share."""
        borrowers = self._borrowers(row)
        if borrowers:
            self._own(borrowers[0])
            for other in borrowers[1:]:
                self._loans[other] = Loan(borrowers[0], self._loans[other].tokens)
        self._loans.pop(row, None)
        self.mask[row, : self.lengths[row]] = float("-inf")
        self.lengths[row] = 0

    def settle(self) -> None:
        """Gives every row its own copy of what it borrows."""
        for row in list(self._loans):
            self._own(row)

    def runs(self, rows: int) -> list[Run]:
        """The first rows, cut where the place of their first tokens changes; a lender is of its borrowers' run."""
        lenders = {loan.source: loan for loan in self._loans.values()}
        loans = [self._loans.get(row) or lenders.get(row) for row in range(rows)]
        starts = [row for row in range(rows) if row == 0 or loans[row] != loans[row - 1]]
        return [Run(slice(start, end), loans[start]) for start, end in zip(starts, [*starts[1:], rows], strict=True)]

    def read(self, row: int, start: int, end: int) -> list[Tensor]:
        """Copies of a row's tokens, one tensor (2 × heads × tokens × width) for each layer."""
        loan = self._loans.get(row)
        if loan is None or start >= loan.tokens:
            return [layer[row, :, :, start:end].clone() for layer in self.layers]
        split = min(end, loan.tokens)
        parts = ((loan.source, slice(start, split)), (row, slice(split, end)))
        return [torch.cat([layer[place, :, :, part] for place, part in parts], dim=2) for layer in self.layers]

    def _borrowed(self, row: int) -> int:
        """How many of its tokens a row does not hold itself."""
        loan = self._loans.get(row)
        return 0 if loan is None else loan.tokens

    def _borrowers(self, row: int) -> list[int]:
        return [other for other, loan in self._loans.items() if loan.source == row]

    def _own(self, row: int) -> None:
        loan = self._loans.pop(row)
        for layer in self.layers:
            layer[row, :, :, : loan.tokens] = layer[loan.source, :, :, : loan.tokens]

    def write(self, row: int, start: int, block: list[Tensor]) -> None:
        """Puts back what `read` gave."""
        for layer, values in zip(self.layers, block, strict=True):
            layer[row, :, :, start : start + values.shape[2]] = values

    def _reserve(self) -> None:
        # Only main memory can be reserved without being taken.
        made = _mapped if torch.get_default_device().type == "cpu" else _zeros
        self.layers = [
            made((self._rows, 2, shape.heads, self.capacity, shape.width), self._dtype) for shape in self.shapes
        ]
        # Views that every token needs, made once.
        self._halves = [(layer[:, 0], layer[:, 1]) for layer in self.layers]
        self._flat = [layer.view(-1, layer.shape[-1]) for layer in self.layers]
        self.mask = torch.full((self._rows, self.capacity), float("-inf"), dtype=self._dtype)
        for row, count in enumerate(self.lengths):
            self.mask[row, :count] = 0.0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


def _mapped(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Zeros of pages that come into being when they are touched; the mapping lives as long as the tensor.

    Pages are the small ones: a row touches a little of each head's run, which large ones would fill with zeros.
    """
    size = math.prod(shape) * dtype.itemsize
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return torch.frombuffer(mmap.mmap(-1, size, **private), dtype=dtype).view(shape)
