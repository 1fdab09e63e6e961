"""Attention of one new token in each of several rows, which may share where they begin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .key_values import Run


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, run: Run) -> Tensor:
    """What the queries of a run of rows see: N × heads × G × width.

    Of all rows: `queries`, rows × heads × G × width, G of them for each head of keys; `keys`, `values`, rows × heads ×
    L × width; `mask`, rows × 1 × 1 × L, added to scores. Tokens that the run has borrowed are read once for the queries
    of all its rows, the rest row by row, and the two are weighed by their sums of exponentials.
    """
    mine, loan = run.rows, run.loan
    if loan is None:
        return F.scaled_dot_product_attention(queries[mine], keys[mine], values[mine], attn_mask=mask[mine])
    queries = queries[mine]
    rows, heads, groups, width = queries.shape
    lender = slice(loan.source, loan.source + 1)
    together = queries.transpose(0, 1).reshape(1, heads, rows * groups, width)
    shared, shared_sums = _attend(together, keys[lender, :, : loan.tokens], values[lender, :, : loan.tokens], None)
    shared = shared.view(heads, rows, groups, width).transpose(0, 1)
    shared_sums = shared_sums.view(heads, rows, groups).transpose(0, 1)
    rest = slice(loan.tokens, None)
    own, own_sums = _attend(queries, keys[mine, :, rest], values[mine, :, rest], mask[mine, ..., rest])
    return torch.lerp(own, shared, (shared_sums - own_sums).sigmoid_()[..., None])


def _attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention, and for each query the logarithm of the sum of its exponentials."""
    output, sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        queries, keys, values, 0.0, False, attn_mask=mask
    )
    return output, sums
