"""Draws the next tokens of a batch, each row by its own settings, all rows at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import torch
from torch import Tensor

from .spread import Spread

#: Below this temperature a row is greedy.
COLDEST = 1e-5
#: Of many weights, ids are drawn in two stages, a block of this many and then one in it: exact sums of few numbers, one
#: pass over all.
BLOCK = 256
#: Weights of a batch up to which the one stage takes less than the two, and one thread less than waking others.
FEW = 1 << 14


@dataclass
class SamplingSettings:
    """Temperature 0 is greedy. `generator` is None where no seed was given."""

    temperature: float = 1.0
    top_p: float = 1.0
    generator: torch.Generator | None = None


def seeded(seed: int | None, number: int, device: torch.device) -> torch.Generator | None:
    """A generator for choice `number` of a request with this seed, on the device of the logits."""
    if seed is None:
        return None
    return torch.Generator(device).manual_seed((seed + number * 1_000_003) % (1 << 63))


def sample(logits: Tensor, rows: list[SamplingSettings], allowed: list[Tensor | None]) -> tuple[list[int], list[float]]:
    """Next ids (B) and their log-probabilities (B) under the model's own distribution.

    `logits`: B × V, float32. `allowed`: per row a mask (V) of the ids that its grammar permits, or None. The
    log-probabilities are of the raw distribution: before temperature, top_p and grammar.
    """
    with Spread() if logits.numel() <= FEW else contextlib.nullcontext():
        return _sample(logits, rows, allowed)


def _sample(
    logits: Tensor, rows: list[SamplingSettings], allowed: list[Tensor | None]
) -> tuple[list[int], list[float]]:
    peak = logits.amax(dim=-1, keepdim=True)
    weights = (logits - peak).exp_()
    sums = _block_sums(weights)
    chosen = _choose(logits, weights, sums, rows, allowed)
    # In double precision, as half of the digits of a single-precision sum over a large vocabulary are lost.
    totals = sums.sum(dim=-1, keepdim=True, dtype=torch.float64).log_().add_(peak)
    picked = logits.gather(-1, chosen[:, None]) - totals
    return chosen.tolist(), picked[:, 0].tolist()


def _choose(
    logits: Tensor, weights: Tensor, sums: Tensor, rows: list[SamplingSettings], allowed: list[Tensor | None]
) -> Tensor:
    """`weights`: eˡᵒᵍⁱᵗˢ up to a factor for each row; `sums`: of their blocks."""
    restricted = [place for place, mask in enumerate(allowed) if mask is not None]
    if restricted:
        masks = torch.stack([mask for mask in allowed if mask is not None])
        logits = logits.index_put((torch.tensor(restricted),), logits[restricted].masked_fill(~masks, float("-inf")))
    cold = [row.temperature < COLDEST for row in rows]
    if all(cold):
        return logits.argmax(dim=-1)
    given = weights
    if restricted or any(row.temperature != 1.0 for row in rows):
        temperatures = torch.tensor([1.0 if row.temperature < COLDEST else row.temperature for row in rows])
        weights = torch.softmax(logits / temperatures[:, None], dim=-1)
    nuclear = [place for place, row in enumerate(rows) if row.top_p < 1.0]
    if nuclear:
        tops = torch.tensor([rows[place].top_p for place in nuclear])
        weights = weights.index_put((torch.tensor(nuclear),), _nucleus(weights[nuclear], tops))
    drawn = _draw(weights, sums if weights is given else _block_sums(weights), _uniform(rows))
    return torch.where(torch.tensor(cold), logits.argmax(dim=-1), drawn) if any(cold) else drawn


def _nucleus(weights: Tensor, tops: Tensor) -> Tensor:
    """Without the ids that the likeliest ones, which together reach `tops`, leave out."""
    ordered, order = (weights / weights.sum(dim=-1, keepdim=True)).sort(dim=-1, descending=True)
    beyond = ordered.cumsum(dim=-1) - ordered >= tops[:, None]
    return weights.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), 0.0)


def _uniform(rows: list[SamplingSettings]) -> Tensor:
    """A number in [0, 1) for each row, from its own generator where it has one."""
    numbers = torch.rand(len(rows), dtype=torch.float64)
    for place, row in enumerate(rows):
        if row.generator is not None:
            numbers[place] = torch.rand((), dtype=torch.float64, generator=row.generator)
    return numbers


def _draw(weights: Tensor, sums: Tensor, uniform: Tensor) -> Tensor:
    """Ids drawn in proportion to `weights` (B × V), whose blocks have these sums, by inverting the cumulative ones."""
    single = sums.shape == weights.shape
    sums = sums.cumsum(dim=-1, dtype=torch.float64)
    target = uniform[:, None] * sums[:, -1:]
    if single:
        return torch.searchsorted(sums, torch.minimum(target, _below(sums[:, -1:])), right=True)[:, 0]
    block = torch.searchsorted(sums, target, right=True).clamp_(max=sums.shape[-1] - 1)
    before = torch.where(block > 0, sums.gather(-1, (block - 1).clamp_(min=0)), 0.0)
    places = block * BLOCK + torch.arange(BLOCK)
    inside = weights.gather(-1, places.clamp(max=weights.shape[-1] - 1)).double()
    inside = inside.masked_fill_(places >= weights.shape[-1], 0.0).cumsum(dim=-1)
    target = torch.minimum(target - before, _below(inside[:, -1:]))
    return (block * BLOCK + torch.searchsorted(inside, target, right=True))[:, 0]


def _below(totals: Tensor) -> Tensor:
    """The greatest targets: where rounding puts one at the very end, the last id with any weight is meant."""
    return totals.nextafter(torch.zeros((), dtype=torch.float64))


def _block_sums(weights: Tensor) -> Tensor:
    """Sums of blocks of ids, B × blocks; of few weights, each is its own block."""
    if weights.numel() <= FEW:
        return weights
    whole = weights.shape[-1] // BLOCK * BLOCK
    sums = weights[:, :whole].unflatten(-1, (-1, BLOCK)).sum(dim=-1) if whole else weights[:, :0]
    if whole == weights.shape[-1]:
        return sums
    return torch.cat([sums, weights[:, whole:].sum(dim=-1, keepdim=True)], dim=-1)
