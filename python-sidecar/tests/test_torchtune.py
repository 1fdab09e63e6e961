"""torchtune computes what transformers computes, and reads and writes the same adapters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from apprentice_sidecar.base_model import BaseModel
from apprentice_sidecar.checkpoints import read_adapter
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.loss import LossSettings, TokenBatch, policy_loss
from apprentice_sidecar.packing import Pack, PackRow, pack_rows
from apprentice_sidecar.protocol import Lora, TrainingJobRequest
from apprentice_sidecar.training.contract import BuildPolicy
from apprentice_sidecar.training.trainer import run_job
from apprentice_sidecar.training.transformers import build_policy
from apprentice_sidecar.training.transformers.policy import TransformersPolicy
from tiny import request, row, tiny_base

pytest.importorskip("torchtune", reason="the set requirements/torchtune.txt is not installed here")
from apprentice_sidecar.training.torchtune import policy as torchtune

SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip
FAMILIES = {
    "llama": LlamaConfig(**SIZES),
    "llama, scaled positions and biases": LlamaConfig(
        **SIZES, attention_bias=True, mlp_bias=True, rope_parameters=LLAMA3
    ),
    "qwen2, tied": Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3, wide heads": Qwen3Config(**SIZES, head_dim=8),
}


def random_base(config: Any, dtype: torch.dtype = torch.float32) -> BaseModel:
    """A random model in which biases and norms differ from their neutral values, too."""
    torch.manual_seed(1)
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value), alpha=0.1)
    model = model.to(dtype).eval().requires_grad_(False)
    nothing: Any = None
    return BaseModel("random", model, nothing, "sha256:r", "sha256:t", "sha256:c", 8192, str(dtype))


def tree_pack() -> Pack:
    """Three rows that share prefixes, so that mask and positions differ from a plain sequence's."""
    ids = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 9, 8, 7, 6], [1, 2, 11, 12]]
    rows = [PackRow(one, [3, len(one) - 1], [-3.0, -3.5], [1.0, -0.5], [1.0, 0.5]) for one in ids]
    (pack,) = pack_rows(rows, 64)
    assert len(pack.token_ids) < sum(len(one) for one in ids)
    return pack


def random_adapter(policy: Any, seed: int = 5) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) * 0.3 for name, value in policy.tensors().items()}


def loss_and_gradient(policy: Any, pack: Pack) -> tuple[float, dict[str, torch.Tensor]]:
    new, entropy = policy.logprobs(pack, entropy_gradient=True)
    batch = TokenBatch(*(torch.tensor(values) for values in (pack.logprobs, pack.advantages, pack.weights, pack.rows)))
    result = policy_loss(new, entropy, batch, LossSettings(entropy_coefficient=0.01))
    result.total.backward()
    return float(result.total.detach()), {name: value.grad for name, value in policy.parameters.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_are_those_of_transformers(family: str) -> None:
    base = random_base(FAMILIES[family])
    lora = Lora(rank=4, alpha=8)
    theirs, ours = TransformersPolicy(base, lora), torchtune.build_policy(base, lora)
    adapter = random_adapter(theirs)
    theirs.load(adapter)
    ours.load(adapter)
    pack = tree_pack()
    loss, gradient = loss_and_gradient(theirs, pack)
    other_loss, other_gradient = loss_and_gradient(ours, pack)
    assert abs(loss - other_loss) <= 1e-4
    assert gradient.keys() == other_gradient.keys()
    assert max(float((gradient[name] - other_gradient[name]).abs().max()) for name in gradient) <= 1e-4
    assert max(float(value.abs().max()) for value in gradient.values()) > 0.1


def test_positions_beyond_the_first_table_of_angles() -> None:
    base = random_base(FAMILIES["llama"])
    ids = [number % 31 + 1 for number in range(2500)]
    (pack,) = pack_rows([PackRow(ids, [2499], [None], [1.0], [1.0])], 4096)
    lora = Lora(rank=2, alpha=4)
    with torch.no_grad():
        theirs = TransformersPolicy(base, lora).logprobs(pack, entropy_gradient=False)[0]
        ours = torchtune.build_policy(base, lora).logprobs(pack, entropy_gradient=False)[0]
    assert float((theirs - ours).abs().max()) <= 1e-4


def test_without_the_adapter_it_is_the_base_model() -> None:
    base = random_base(FAMILIES["qwen3, wide heads"])
    policy = torchtune.build_policy(base, Lora(rank=4, alpha=8))
    pack = tree_pack()
    with torch.no_grad():
        fresh = policy.logprobs(pack, entropy_gradient=False)[0]
        policy.load(random_adapter(policy))
        adapted = policy.logprobs(pack, entropy_gradient=False)[0]
        with policy.without_adapter():
            bare = policy.logprobs(pack, entropy_gradient=False)[0]
    assert torch.equal(fresh, bare)
    assert float((adapted - bare).abs().max()) > 0.1


def test_base_weights_are_shared_and_stay_frozen() -> None:
    base = random_base(FAMILIES["llama"])
    decoder = torchtune.build_policy(base, Lora(rank=4, alpha=8))._decoder
    model: Any = base.model
    assert decoder.layers[1].mlp.w2.weight.data_ptr() == model.model.layers[1].mlp.down_proj.weight.data_ptr()
    assert not any(value.requires_grad for value in base.model.parameters())


def test_an_adapter_stays_in_float32_on_bfloat16_weights() -> None:
    base = random_base(FAMILIES["qwen2, tied"], torch.bfloat16)
    lora = Lora(rank=4, alpha=8)
    theirs, ours = TransformersPolicy(base, lora), torchtune.build_policy(base, lora)
    adapter = random_adapter(theirs)
    theirs.load(adapter)
    ours.load(adapter)
    assert {value.dtype for value in ours.parameters.values()} == {torch.float32}
    with torch.no_grad():
        gap = (theirs.logprobs(tree_pack(), entropy_gradient=False)[0]
               - ours.logprobs(tree_pack(), entropy_gradient=False)[0]).abs()  # fmt: skip
    assert float(gap.max()) < 0.1


ROWS = [row(0, "g", [1, 2, 3, 4, 5], [3, 4], 1.0), row(1, "g", [1, 2, 3, 9, 8], [3, 4], -1.0)]


def test_each_engine_goes_on_from_the_others_adapter(tmp_path: Path) -> None:
    base = tiny_base()

    def finish(made: TrainingJobRequest, build: BuildPolicy) -> None:
        list(run_job(base, made, "d", lambda: False, build=build))

    engines = {"transformers": build_policy, "torchtune": torchtune.build_policy}
    finish(request(tmp_path / "1", ROWS), torchtune.build_policy)
    for name, build in engines.items():
        made = request(tmp_path / name, ROWS)
        spec = made.adapter.model_copy(update={"step": 2, "parent": str(tmp_path / "1")})
        finish(made.model_copy(update={"adapter": spec}), build)
    first, second = (read_adapter(tmp_path / name, expect_base_digest=base.digest) for name in engines)
    assert first.config == second.config
    assert first.tensors.keys() == second.tensors.keys()
    assert max(float((value - second.tensors[name]).abs().max()) for name, value in first.tensors.items()) <= 1e-4
    moments = second.optimizer()
    assert max(float((value - moments[name]).abs().max()) for name, value in first.optimizer().items()) <= 1e-4
    assert first.optimizer().keys() == moments.keys()


def test_adapters_go_on_the_named_layers_only() -> None:
    base = random_base(FAMILIES["llama"])
    lora = Lora(rank=4, alpha=8, target_modules=["q_proj", "down_proj"])
    ours, theirs = torchtune.build_policy(base, lora), TransformersPolicy(base, lora)
    assert ours.tensors().keys() == theirs.tensors().keys()
    assert ours.configuration["target_modules"] == ["down_proj", "q_proj"]
    with pytest.raises(SidecarError, match="no adapter on lm_head"):
        torchtune.build_policy(base, Lora(target_modules=["lm_head"]))


def test_another_kind_of_model_is_refused_before_training() -> None:
    base = random_base(FAMILIES["llama"])
    base.model.config.hidden_act = "gelu"
    with pytest.raises(SidecarError, match="activation 'gelu'") as refused:
        torchtune.check(replace(base))
    assert refused.value.code == "training_engine_unsuited"
