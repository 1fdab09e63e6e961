"""Attention over a pack: only pairs that may see each other are computed, each shared prefix once.

A pack lies in depth-first order, so all descendants of a run of tokens follow it without a gap. Every pair of the tree
is then in one of two kinds of dense blocks: a run with itself, causal; and all descendants of a run with that run.
Each block is one call of the flash kernel; partial results of a query are merged by their log-sum-exp, and in the
backward pass every block takes the merged result and log-sum-exp (as in ring attention, arXiv 2310.01889).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...packing import Pack

_forward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

#: Tokens of a run from which on it is cut. Along the diagonal the kernel computes whole tiles, which are larger in long
#: blocks: of 1500 tokens in one block the backward pass would take an eighth longer.
LONGEST_RUN = 512


@dataclass(frozen=True)
class Block:
    """Queries that look at all of the keys, or, where `causal`, at those up to their own place."""

    queries: slice
    keys: slice
    causal: bool


@dataclass(frozen=True)
class AttentionPlan:
    """Which tokens of a pack are queries (ascending; None: all), and the blocks; `queries` count within those."""

    rows: Tensor | None
    blocks: list[Block]


@dataclass
class _Run:
    start: int
    end: int
    parent: int
    wanted: bool


def plan_all(pack: Pack) -> AttentionPlan:
    """Every token of the pack is a query."""
    return AttentionPlan(None, _blocks([_Run(start, end, parent, True) for start, end, parent in _segments(pack)]))


def plan_sources(pack: Pack) -> AttentionPlan:
    """Queries are only what the last layer needs: in each segment the tokens from its first source on."""
    first: dict[int, int] = {}
    for source in pack.sources:
        segment = pack.segments[source]
        first[segment] = min(first.get(segment, source), source)
    runs: list[_Run] = []
    last_run: list[int] = []
    for start, end, parent in _segments(pack):
        above = last_run[parent] if parent >= 0 else -1
        cut = first.get(pack.segments[start], end)
        if start < cut:
            runs.append(_Run(start, cut, above, False))
            above = len(runs) - 1
        if cut < end:
            runs.append(_Run(cut, end, above, True))
        last_run.append(len(runs) - 1)
    rows = torch.cat([torch.arange(run.start, run.end) for run in runs if run.wanted])
    return AttentionPlan(rows, _blocks(runs))


def _segments(pack: Pack) -> list[tuple[int, int, int]]:
    """Start, end and parent of each segment, in the order of the line; a parent is an index in this list."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for place, segment in enumerate(pack.segments):
        starts.setdefault(segment, place)
        ends[segment] = place + 1
    number = {segment: index for index, segment in enumerate(starts)}
    return [(start, ends[segment], number.get(pack.parents[segment], -1)) for segment, start in starts.items()]


def _chained(runs: Sequence[_Run]) -> list[_Run]:
    """Long runs of queries as chains of about equal ones, each the parent of the next."""
    chains: list[_Run] = []
    last_run: list[int] = []
    for run in runs:
        above = last_run[run.parent] if run.parent >= 0 else -1
        pieces = -(-(run.end - run.start) // LONGEST_RUN) if run.wanted else 1
        size = -(-(run.end - run.start) // pieces)
        for start in range(run.start, run.end, size):
            chains.append(_Run(start, min(start + size, run.end), above, run.wanted))
            above = len(chains) - 1
        last_run.append(above)
    return chains


def _blocks(runs: Sequence[_Run]) -> list[Block]:
    """Own blocks first, so that every query has a result to merge into."""
    runs = _chained(runs)
    subtree_end = [run.end for run in runs]
    for index in range(len(runs) - 1, -1, -1):
        parent = runs[index].parent
        if parent >= 0:
            subtree_end[parent] = max(subtree_end[parent], subtree_end[index])
    #: how many queries lie before the end of each run
    before = {0: 0}
    count = 0
    for run in runs:
        before[run.start] = count
        count += run.end - run.start if run.wanted else 0
        before[run.end] = count
    own = [
        Block(slice(before[run.start], before[run.end]), slice(run.start, run.end), True) for run in runs if run.wanted
    ]
    below = [
        Block(slice(before[run.end], before[end]), slice(run.start, run.end), False)
        for run, end in zip(runs, subtree_end, strict=True)
        if before[end] > before[run.end]
    ]
    return own + below


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, blocks: Sequence[Block], scale: float
) -> tuple[Tensor, Tensor]:
    """Result (Q × K × G × D) and log-sum-exp (K × G × Q). `query`: Q × K × G × D; `key`, `value`: P × K × D.

    K key heads, each with G query heads, are the kernel's batch and heads: shared keys are never copied.
    """
    result = torch.empty_like(query)
    total = query.new_empty(query.shape[1], query.shape[2], query.shape[0])
    for block in blocks:
        part, logs = _forward(
            _heads(query[block.queries]),
            _shared(key[block.keys], query.shape[2]),
            _shared(value[block.keys], query.shape[2]),
            is_causal=block.causal,
            scale=scale,
        )
        part = part.permute(2, 0, 1, 3)
        if block.causal:
            result[block.queries] = part
            total[..., block.queries] = logs
            continue
        known = total[..., block.queries]
        merged = torch.logaddexp(known, logs)
        kept = (known - merged).exp_().permute(2, 0, 1)[..., None]
        added = (logs - merged).exp_().permute(2, 0, 1)[..., None]
        result[block.queries].mul_(kept).addcmul_(part, added)
        total[..., block.queries] = merged
    return result, total


def tree_attention_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    result: Tensor,
    total: Tensor,
    blocks: Sequence[Block],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value, shaped as they are."""
    to_query, to_key, to_value = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    groups = query.shape[2]
    for block in blocks:
        parts = _backward(
            _heads(gradient[block.queries]),
            _heads(query[block.queries]),
            _shared(key[block.keys], groups),
            _shared(value[block.keys], groups),
            _heads(result[block.queries]),
            total[..., block.queries],
            0.0,
            block.causal,
            scale=scale,
        )
        to_query[block.queries] += parts[0].permute(2, 0, 1, 3)
        to_key[block.keys] += parts[1].sum(1).transpose(0, 1)
        to_value[block.keys] += parts[2].sum(1).transpose(0, 1)
    return to_query, to_key, to_value


def _heads(values: Tensor) -> Tensor:
    """N × K × G × D as K × G × N × D."""
    return values.permute(1, 2, 0, 3)


def _shared(values: Tensor, groups: int) -> Tensor:
    """N × K × D as K × G × N × D, each key head seen by its G query heads."""
    return values.transpose(0, 1)[:, None].expand(-1, groups, -1, -1)
