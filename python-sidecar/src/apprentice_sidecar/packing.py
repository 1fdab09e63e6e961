"""Packs training rows into sequences that share prefixes. Pure: numbers in, numbers out, no torch.

A pack is a forest of token nodes laid out in a line. Rows of one pack that begin with the same ids share those nodes,
so that a prompt of a group is computed once. A token may look at itself and its ancestors only; its position is its
depth in the tree. Trained tokens are never shared between rows, as each has its own advantage: the target of a row
hangs on the node before it, and one node may be the source of several targets. What follows a row's last source can
change nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PackRow:
    """One sequence: `token_ids` (S), and per trained token (N) its index in S and three numbers."""

    token_ids: Sequence[int]
    positions: Sequence[int]
    logprobs: Sequence[float | None]
    advantages: Sequence[float]
    weights: Sequence[float]


@dataclass
class Pack:
    """A packed sequence of P tokens with T targets, all arrays of that length."""

    token_ids: list[int] = field(default_factory=lambda: [])
    #: position id of each token, P
    depths: list[int] = field(default_factory=lambda: [])
    #: segment of each token, P; a segment is a run of nodes without a fork
    segments: list[int] = field(default_factory=lambda: [])
    #: parent of each segment, or -1
    parents: list[int] = field(default_factory=lambda: [])
    #: index in the pack of the token that predicts the target, T
    sources: list[int] = field(default_factory=lambda: [])
    #: the id to predict, T
    targets: list[int] = field(default_factory=lambda: [])
    logprobs: list[float | None] = field(default_factory=lambda: [])
    advantages: list[float] = field(default_factory=lambda: [])
    weights: list[float] = field(default_factory=lambda: [])
    #: number of the row that a target belongs to, T (for sequence-level importance sampling)
    rows: list[int] = field(default_factory=lambda: [])

    def mask(self) -> npt.NDArray[np.bool_]:
        """P × P, true where row i may look at column j: j is i or an ancestor of it."""
        segments = np.asarray(self.segments)
        related = np.zeros((len(self.parents), len(self.parents)), dtype=bool)
        for segment in range(len(self.parents)):
            ancestor = segment
            while ancestor >= 0:
                related[segment, ancestor] = True
                ancestor = self.parents[ancestor]
        causal = np.tril(np.ones((len(segments), len(segments)), dtype=bool))
        # Within one segment and towards ancestors the order in the line is the order in the tree.
        return causal & related[segments[:, None], segments[None, :]]

    def add_segment(self, ids: Sequence[int], depth: int, parent: int) -> int:
        segment = len(self.parents)
        self.parents.append(parent)
        self.token_ids.extend(ids)
        self.depths.extend(range(depth, depth + len(ids)))
        self.segments.extend([segment] * len(ids))
        return segment


def common_prefix(first: Sequence[int], second: Sequence[int], limit: int) -> int:
    """Length of the longest common prefix, at most `limit`."""
    bound = min(len(first), len(second), limit)
    left = np.asarray(first[:bound])
    right = np.asarray(second[:bound])
    different = np.nonzero(left != right)[0]
    return int(different[0]) if len(different) else bound


@dataclass(frozen=True)
class PackCost:
    """What one forward and backward pass over a pack of P tokens costs: P + per_pair · P² + per_pack.

    The unit is one token's share of the matrix products. The dense mask makes attention pay for all P² pairs, those
    that it hides included, so sharing and filling stop paying at some length; a pass of any length costs `per_pack`.
    """

    per_pair: float = 0.0
    per_pack: float = 64.0

    def of(self, tokens: int) -> float:
        """The cost of a pack of `tokens` tokens."""
        return tokens + self.per_pair * tokens * tokens + self.per_pack


def pack_rows(
    rows: Sequence[PackRow],
    tokens_per_pack: int,
    *,
    share: bool = True,
    isolate: bool = True,
    cost: PackCost | None = None,
) -> list[Pack]:
    """Rows in the order of their ids, cut into packs of at most `tokens_per_pack` tokens at the lowest total cost.

    A row longer than that gets a pack of its own. Sorting brings rows with a common prefix together; each row shares
    with the row before it in the pack, which in sorted order is the deepest sharing there is. `share=False` packs
    without sharing; `isolate=False` is for models in which a mask cannot keep rows apart: one row a pack.
    """
    inputs = [list(row.token_ids[: max(row.positions, default=0)]) for row in rows]
    order = sorted((index for index in range(len(rows)) if inputs[index]), key=lambda index: inputs[index])
    lengths = [len(inputs[index]) for index in order]
    shared = [0] * len(order)
    if share and isolate:
        for place in range(1, len(order)):
            before, row = inputs[order[place - 1]], inputs[order[place]]
            shared[place] = common_prefix(before, row, len(row))
    packs: list[Pack] = []
    for first, last in _cut(lengths, shared, tokens_per_pack if isolate else 0, cost or PackCost()):
        builder = _Builder()
        for place in range(first, last):
            number = order[place]
            builder.add(rows[number], inputs[number], number, 0 if place == first else shared[place])
        packs.append(builder.pack)
    return packs


def _cut(lengths: Sequence[int], shared: Sequence[int], limit: int, cost: PackCost) -> list[tuple[int, int]]:
    """The cheapest partition of the rows into runs [first, last), each of at most `limit` tokens or of one row.

    Dynamic programming over the place where the last run begins; a run costs its first row in full and of each
    further one what it does not share.
    """
    best = [0.0]
    begins: list[int] = [0]
    for last in range(1, len(lengths) + 1):
        cheapest, begin = float("inf"), last - 1
        tail = 0
        for first in range(last - 1, -1, -1):
            tokens = lengths[first] + tail
            if tokens > limit and first < last - 1:
                break
            total = best[first] + cost.of(tokens)
            if total < cheapest:
                cheapest, begin = total, first
            tail += lengths[first] - shared[first]
        best.append(cheapest)
        begins.append(begin)
    runs: list[tuple[int, int]] = []
    last = len(lengths)
    while last > 0:
        runs.append((begins[last], last))
        last = begins[last]
    return runs[::-1]


class _Builder:
    """Adds rows to one pack, keeping where in the pack the tokens of the last row lie."""

    def __init__(self) -> None:
        self.pack = Pack()
        #: pack index of each token of the last row
        self._path: list[int] = []

    def add(self, row: PackRow, inputs: Sequence[int], number: int, shared: int) -> None:
        pack = self.pack
        parent = self._fork(shared)
        start = len(pack.token_ids)
        rest = inputs[shared:]
        if rest:
            pack.add_segment(rest, shared, parent)
        path = self._path[:shared] + list(range(start, start + len(rest)))
        for place, position in enumerate(row.positions):
            pack.sources.append(path[position - 1])
            pack.targets.append(row.token_ids[position])
            pack.logprobs.append(row.logprobs[place])
            pack.advantages.append(row.advantages[place])
            pack.weights.append(row.weights[place])
            pack.rows.append(number)
        self._path = path

    def _fork(self, shared: int) -> int:
        """The segment that ends where the last row's path is left; splits a segment that goes on."""
        if shared == 0:
            return -1
        pack = self.pack
        last = self._path[shared - 1]
        segment = pack.segments[last]
        if shared == len(self._path) or pack.segments[self._path[shared]] != segment:
            return segment
        # The tail becomes a segment of its own, below the head; what hung on the whole now hangs on the tail.
        tail = len(pack.parents)
        pack.parents.append(segment)
        for child, parent in enumerate(pack.parents[:-1]):
            if parent == segment:
                pack.parents[child] = tail
        for place in range(last + 1, len(pack.segments)):
            if pack.segments[place] == segment:
                pack.segments[place] = tail
        return segment
