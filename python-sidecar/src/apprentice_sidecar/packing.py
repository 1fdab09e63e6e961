"""Packs training rows into sequences that share prefixes. Pure: numbers in, numbers out, no torch.

A pack is a forest of token nodes laid out in a line. Rows of one pack that begin with the same ids share those nodes,
so that a prompt of a group is computed once. A token may look at itself and its ancestors only; its position is its
depth in the tree. Trained tokens are never shared between rows, as each has its own advantage: the target of a row
hangs on the node before it, and one node may be the source of several targets.
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


def pack_rows(rows: Sequence[PackRow], tokens_per_pack: int, *, share: bool = True) -> list[Pack]:
    """Rows in the order of their ids, greedily into packs of at most `tokens_per_pack` tokens.

    A row longer than that gets a pack of its own. Sorting brings rows with a common prefix together; each row shares
    with the row before it in the pack, which in sorted order is the deepest sharing there is.
    """
    order = sorted(range(len(rows)), key=lambda index: list(rows[index].token_ids))
    packs: list[Pack] = []
    builder: _Builder | None = None
    for index in order:
        row = rows[index]
        if builder is None or not builder.fits(row, tokens_per_pack):
            builder = _Builder(share)
            packs.append(builder.pack)
        builder.add(row, index)
    return packs


class _Builder:
    """Adds rows to one pack, keeping the path of the last row as (segment, start, ids)."""

    def __init__(self, share: bool) -> None:
        self.pack = Pack()
        self._share = share
        self._last: PackRow | None = None
        #: pack index of each token of the last row
        self._path: list[int] = []

    def _shared(self, row: PackRow) -> int:
        if not self._share or self._last is None:
            return 0
        return common_prefix(row.token_ids, self._last.token_ids, len(row.token_ids))

    def fits(self, row: PackRow, limit: int) -> bool:
        return len(self.pack.token_ids) + len(row.token_ids) - self._shared(row) <= limit

    def add(self, row: PackRow, number: int) -> None:
        shared = self._shared(row)
        pack = self.pack
        parent = self._fork(shared)
        start = len(pack.token_ids)
        rest = list(row.token_ids[shared:])
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
        self._last = row
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
