"""The lean forward and transformers' own give what the bare model gives, however sequences join, share and leave."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from apprentice_sidecar.serving import batch as batches
from apprentice_sidecar.serving.batch import Batch, Slot
from apprentice_sidecar.serving.forward import TransformersForward, layer_shapes
from apprentice_sidecar.serving.lean import LeanForward, fits

SHAPE: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "head_dim": 16,
}  # fmt: skip
MODELS = [
    (LlamaForCausalLM, LlamaConfig),
    (Qwen2ForCausalLM, Qwen2Config),
    (Qwen3ForCausalLM, Qwen3Config),
]


def _gap(model: Any, logits: torch.Tensor, slots: list[Slot]) -> float:
    """Largest difference in log-probability from a pass over each whole sequence without a cache."""
    worst = 0.0
    for row, slot in zip(logits, slots, strict=True):
        expected = torch.log_softmax(model(input_ids=torch.tensor([slot.ids])).logits[0, -1], -1)
        worst = max(worst, float((torch.log_softmax(row, -1) - expected).abs().max()))
    return worst


def _model(architecture: Any, settings: Any) -> Any:
    torch.manual_seed(0)
    model = architecture(settings(**SHAPE)).eval()
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn_like(parameter) * 0.2 + (1.0 if "norm" in name else 0.0)
    return model


@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@pytest.mark.parametrize("kind", ["lean", "transformers"])
@pytest.mark.parametrize("room", [29, 512])
@torch.no_grad()
def test_the_batch_gives_the_models_logprobs_to_1e_5(
    architecture: Any, settings: Any, kind: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With little room prompts are cut, and some passes have no token whose logits are wanted.
    monkeypatch.setattr(batches, "PREFILL_TOKENS", room)
    model = _model(architecture, settings)

    def run(_: str | None, **inputs: Any) -> Any:
        return model(**inputs)

    assert fits(model)
    forward = LeanForward(model, packed=True) if kind == "lean" else TransformersForward(run, model.config)
    batch = Batch(lambda _: forward, layer_shapes(run), torch.float32, rows=8)
    prompts = [torch.randint(0, 50, (length,)).tolist() for length in (5, 40, 17, 300)]
    prompts += [[*prompts[1][:33], 1, 2], prompts[1]]
    gaps = [_gap(model, batch.join(slots := [Slot(list(one), None, None) for one in prompts]), slots)]
    for turn in range(4):
        logits = batch.step([(7 * turn + row) % 50 for row in range(len(batch.slots))])
        gaps.append(_gap(model, logits, batch.slots))
    batch.leave([0, 3])
    gaps.append(_gap(model, batch.step([3] * len(batch.slots)), batch.slots))
    later = [Slot([*prompts[3], 1, 2, 3], None, None), Slot([4], None, None)]
    gaps.append(_gap(model, batch.join(later), later))
    gaps.append(_gap(model, batch.step([1] * len(batch.slots)), batch.slots))
    assert max(gaps) <= 1e-5


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_rows_that_share_a_prompt_give_the_models_logprobs_whoever_leaves_first(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BORROW_FROM", 1)
    model = _model(LlamaForCausalLM, LlamaConfig)
    forward = LeanForward(model, packed=True)
    batch = Batch(lambda _: forward, layer_shapes(lambda _, **inputs: model(**inputs)), torch.float32, rows=64)
    chance = random.Random(seed)

    def prompt(length: int) -> list[int]:
        return [chance.randrange(50) for _ in range(length)]

    gaps: list[float] = []
    left: list[list[int]] = []
    for lengths in ((37, 250, 5), (61, 16)):
        prompts = [prompt(length) for length in lengths]
        if left:
            # What a row has left behind that had borrowed its prompt: the next turn of it begins so.
            prompts.append([*left[0], *prompt(3)])
        slots = [Slot(list(one), None, None) for one in prompts for _ in range(3)]
        slots.insert(3, Slot(prompt(9), None, None))
        gaps.append(_gap(model, batch.join(slots), slots))
        for _ in range(12):
            logits = batch.step([chance.randrange(50) for _ in batch.slots])
            gaps.append(_gap(model, logits, batch.slots))
            leaving = chance.sample(range(len(batch.slots)), chance.choice((0, 0, 1, 2)) if len(batch.slots) > 3 else 0)
            left += [list(batch.slots[row].ids) for row in leaving]
            batch.leave(leaving)
    assert max(gaps) <= 1e-5
    batch.leave(list(range(len(batch.slots))))
    again = [Slot([*ids, 7], None, None) for ids in left]
    assert _gap(model, batch.join(again), again) <= 1e-5


@torch.no_grad()
def test_a_shared_prompt_lies_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BORROW_FROM", 1)
    model = _model(LlamaForCausalLM, LlamaConfig)
    forward = LeanForward(model, packed=False)
    batch = Batch(lambda _: forward, layer_shapes(lambda _, **inputs: model(**inputs)), torch.float32, rows=4)
    batch.join([Slot(list(range(40)), None, None) for _ in range(3)])
    batch.step([1, 2, 3])
    layer = batch._store.layers[0]  # pyright: ignore[reportPrivateUsage] -- where things lie is what is tested
    assert [bool(layer[row, :, :, :40].any()) for row in range(3)] == [True, False, False]
    assert all(bool(layer[row, :, :, 40].any()) for row in range(3))


@torch.no_grad()
def test_rows_of_forwards_that_cannot_share_get_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BORROW_FROM", 1)
    model = _model(LlamaForCausalLM, LlamaConfig)

    def run(_: str | None, **inputs: Any) -> Any:
        return model(**inputs)

    lean, general = LeanForward(model, packed=False), TransformersForward(run, model.config)
    batch = Batch(lambda name: general if name else lean, layer_shapes(run), torch.float32, rows=8)
    slots = [Slot(list(range(40)), None, None) for _ in range(3)]
    gaps = [_gap(model, batch.join(slots), slots), _gap(model, batch.step([1, 2, 3]), batch.slots)]
    others = [Slot(list(range(1, 30)), "other", None) for _ in range(3)]
    gaps.append(_gap(model, batch.join(others), others))
    gaps.append(_gap(model, batch.step([1, 2, 3, 4, 5, 6]), batch.slots))
    assert max(gaps) <= 1e-5
