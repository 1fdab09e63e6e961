"""Attention of one new token in each of several rows, which may share where they begin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .key_values import Run
from .spread import Spread


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, run: Run, spread: Spread) -> Tensor:
    """What the queries of a run of rows see: N × heads × G × width.

    Of all rows: `queries`, rows × heads × G × width, G of them for each head of keys; `keys`, `values`, rows × heads ×
    L × width; `mask`, rows × 1 × 1 × L, added to scores. Tokens that the run has borrowed are read once for the queries
    of all its rows, the rest row by row, and the two are weighed by their sums of exponentials. `spread` decides what
    several threads do.
    """
    mine, loan = run.rows, run.loan
    queries = queries[mine]
    work = queries.numel()
    if loan is None:
        return spread.run(work * keys.shape[2], _attend_plainly, queries, keys[mine], values[mine], mask[mine])
    rows, heads, groups, width = queries.shape
    lender = slice(loan.source, loan.source + 1)
    together = queries.transpose(0, 1).reshape(1, heads, rows * groups, width)
    lent = (keys[lender, :, : loan.tokens], values[lender, :, : loan.tokens])
    shared, shared_sums = spread.run(work * loan.tokens, _attend, together, *lent, None)
    shared = shared.view(heads, rows, groups, width).transpose(0, 1)
    shared_sums = shared_sums.view(heads, rows, groups).transpose(0, 1)
    rest = slice(loan.tokens, None)
    unshared = (keys[mine, :, rest], values[mine, :, rest], mask[mine, ..., rest])
    own, own_sums = spread.run(work * (keys.shape[2] - loan.tokens), _attend, queries, *unshared)
    return torch.lerp(own, shared, (shared_sums - own_sums).sigmoid_()[..., None])


def _attend_plainly(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention, and for each query the logarithm of the sum of its exponentials."""
    output, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        queries, keys, values, 0.0, False, attn_mask=mask
    )
    return output, sums
