"""Next tokens are drawn from the model's distribution, however many weights a batch has."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from apprentice_sidecar.serving.sampling import BLOCK, FEW, SamplingSettings, sample, seeded

ROWS = 64
#: Up to `FEW` weights and beyond, for so many rows: whole blocks, and a part of one behind them.
VOCABULARIES = [5, FEW // ROWS, FEW // ROWS + 1, 4 * BLOCK, 40 * BLOCK + 7]


def _logits(vocabulary: int, rows: int = ROWS) -> Tensor:
    torch.manual_seed(vocabulary)
    return torch.randn(1, vocabulary).mul_(2).expand(rows, -1).contiguous()


def _draw(logits: Tensor, setting: SamplingSettings, mask: Tensor | None, times: int) -> Tensor:
    """How often each id came."""
    rows = len(logits)
    drawn: list[int] = []
    for _ in range(times):
        drawn += sample(logits, [setting] * rows, [mask] * rows)[0]
    return torch.bincount(torch.tensor(drawn), minlength=logits.shape[-1])


def _assert_drawn_from(counts: Tensor, probabilities: Tensor) -> None:
    """Within five standard deviations of a binomial distribution, each id and each hundredth of the ids."""
    total = int(counts.sum())
    for size in (1, max(1, len(counts) // 100)):
        found = torch.stack([part.sum() for part in counts.double().split(size)])
        share = torch.stack([part.sum() for part in probabilities.double().split(size)])
        spread = (total * share * (1 - share)).sqrt() + 1.0
        assert bool(((found - total * share).abs() <= 5 * spread).all())


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_ids_come_as_often_as_the_model_says(vocabulary: int) -> None:
    logits = _logits(vocabulary)
    _assert_drawn_from(_draw(logits, SamplingSettings(), None, 200), logits[0].softmax(-1))
    cool = SamplingSettings(temperature=0.5)
    _assert_drawn_from(_draw(logits, cool, None, 200), (logits[0] / 0.5).softmax(-1))


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_what_a_grammar_or_top_p_leaves_out_never_comes(vocabulary: int) -> None:
    logits = _logits(vocabulary)
    mask = torch.arange(vocabulary) % 3 == 1
    masked = logits[0].masked_fill(~mask, float("-inf")).softmax(-1)
    counts = _draw(logits, SamplingSettings(), mask, 100)
    assert int(counts[~mask].sum()) == 0
    _assert_drawn_from(counts, masked)
    ordered, order = logits[0].softmax(-1).sort(descending=True)
    kept = order[: int((ordered.cumsum(-1) < 0.5).sum()) + 1]
    counts = _draw(logits, SamplingSettings(top_p=0.5), None, 100)
    assert int(counts.sum()) == int(counts[kept].sum())


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_log_probabilities_are_of_the_raw_distribution(vocabulary: int) -> None:
    logits = torch.randn(ROWS, vocabulary, generator=torch.Generator().manual_seed(1)) * 4
    mask = torch.arange(vocabulary) % 2 == 0
    for setting, allowed in ((SamplingSettings(), None), (SamplingSettings(0.0), None), (SamplingSettings(2.0), mask)):
        ids, logprobs = sample(logits, [setting] * ROWS, [allowed] * ROWS)
        expected = logits.double().log_softmax(-1).gather(-1, torch.tensor(ids)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(logprobs, dtype=torch.float64), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("vocabulary", [300, 5000])
def test_a_seed_gives_the_same_ids_alone_and_beside_others(vocabulary: int) -> None:
    logits = _logits(vocabulary)
    device = torch.device("cpu")

    def drawn(rows: int) -> list[int]:
        setting = SamplingSettings(generator=seeded(7, 0, device))
        settings = [setting, *[SamplingSettings()] * (rows - 1)]
        return [sample(logits[:rows], settings, [None] * rows)[0][0] for _ in range(50)]

    assert drawn(1) == drawn(ROWS)


def test_the_greedy_take_the_likeliest_beside_those_who_draw() -> None:
    logits = torch.randn(4, 400, generator=torch.Generator().manual_seed(2))
    ids, _ = sample(logits, [SamplingSettings(0.0), SamplingSettings()] * 2, [None] * 4)
    assert [ids[0], ids[2]] == logits.argmax(-1)[[0, 2]].tolist()
