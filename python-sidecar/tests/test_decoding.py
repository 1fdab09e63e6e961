"""The lean forward and transformers' own give what the bare model gives, however sequences join, share and leave."""

from __future__ import annotations

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


@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@pytest.mark.parametrize("kind", ["lean", "transformers"])
@torch.no_grad()
def test_the_batch_gives_the_models_logprobs_to_1e_5(architecture: Any, settings: Any, kind: str) -> None:
    torch.manual_seed(0)
    model = architecture(settings(**SHAPE)).eval()
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn_like(parameter) * 0.2 + (1.0 if "norm" in name else 0.0)

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
