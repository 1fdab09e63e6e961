"""Draws the next tokens of a batch, each row by its own settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class SamplingSettings:
    """Temperature 0 is greedy. `generator` is None where no seed was given."""

    temperature: float = 1.0
    top_p: float = 1.0
    generator: torch.Generator | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the row is sampled from the model's own distribution with the shared generator."""
        return self.temperature == 1.0 and self.top_p == 1.0 and self.generator is None


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
    logprobs = torch.log_softmax(logits, dim=-1)
    if all(row.is_plain for row in rows) and all(mask is None for mask in allowed):
        chosen = torch.multinomial(logprobs.exp(), 1)[:, 0]
    else:
        picks = [_sample_row(logits[i], row, mask) for i, (row, mask) in enumerate(zip(rows, allowed, strict=True))]
        chosen = torch.stack(picks)
    picked = logprobs.gather(-1, chosen[:, None])[:, 0]
    return chosen.tolist(), picked.tolist()


def _sample_row(logits: Tensor, settings: SamplingSettings, allowed: Tensor | None) -> Tensor:
    if allowed is not None:
        logits = logits.masked_fill(~allowed, float("-inf"))
    if settings.temperature < 1e-5:
        return logits.argmax()
    probabilities = torch.softmax(logits / settings.temperature, dim=-1)
    if settings.top_p < 1.0:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(0) - ordered >= settings.top_p
        probabilities = probabilities.index_fill(0, order[beyond], 0.0)
    return torch.multinomial(probabilities, 1, generator=settings.generator)[0]
