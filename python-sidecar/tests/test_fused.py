"""The trainer's own forward and backward pass is that of transformers and PEFT, on any tree of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from apprentice_sidecar import products
from apprentice_sidecar.base_model import BaseModel
from apprentice_sidecar.packing import PackRow, pack_rows
from apprentice_sidecar.protocol import Lora
from apprentice_sidecar.training.contract import TrainablePolicy
from apprentice_sidecar.training.fused import FusedPolicy, attention
from apprentice_sidecar.training.transformers.policy import TransformersPolicy, build_policy
from tiny import VOCABULARY
from trees import forests

KINDS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
EVERY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def make_base(kind: str = "llama") -> BaseModel:
    """A small model with grouped key heads, and biases and norms that are not what they begin with."""
    config, model_class = KINDS[kind]
    torch.manual_seed(1)
    model = model_class(
        config(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=128,
        )
    )
    model.eval()
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.add_(torch.rand_like(parameter) - 0.5)
        elif "bias" in name:
            parameter.add_(torch.randn_like(parameter) * 0.1)
        else:
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    nothing: Any = None
    return BaseModel(kind, model, nothing, "sha256:0", "sha256:t", "sha256:c", 128, "float32")


def make_policies(kind: str = "llama", targets: list[str] | None = None) -> tuple[FusedPolicy, TransformersPolicy]:
    """Both policies of one model, with the same adapter, which is not 0."""
    base, lora = make_base(kind), Lora(rank=3, alpha=6, target_modules=targets)
    policy = build_policy(base, lora)
    assert isinstance(policy, FusedPolicy)
    with torch.no_grad():
        for name, parameter in policy.parameters.items():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    general = TransformersPolicy(base, lora)
    general.load(policy.tensors())
    return policy, general


def weighted_sum(logprobs: Tensor, entropies: Tensor, factors: Sequence[float]) -> Tensor:
    """Any number that depends on each target in its own way."""
    weights = torch.tensor(factors)
    return (logprobs * weights).sum() + 0.1 * (entropies * (1 - weights)).sum()


def separately(
    policy: TransformersPolicy, rows: Sequence[PackRow]
) -> tuple[dict[tuple[int, int], float], dict[str, Tensor]]:
    """By transformers and PEFT alone, a row at a time: logprobs by (row, position), and gradients."""
    causal: Any = policy._model.get_base_model()
    found: dict[tuple[int, int], float] = {}
    for parameter in policy.parameters.values():
        parameter.grad = None
    for number, row in enumerate(rows):
        logits = causal(input_ids=torch.tensor([row.token_ids]), use_cache=False).logits[0]
        full = torch.log_softmax(logits, -1)
        places = torch.tensor(row.positions)
        logprobs = full[places - 1, torch.tensor(row.token_ids)[places]]
        entropies = -(full.exp() * full).sum(-1)[places - 1]
        weighted_sum(logprobs, entropies, row.advantages).backward()
        for position, value in zip(row.positions, logprobs.tolist(), strict=True):
            found[number, position] = value
    return found, gradients(policy)


def packed(
    policy: TrainablePolicy, rows: Sequence[PackRow], limit: int
) -> tuple[dict[tuple[int, int], float], dict[str, Tensor]]:
    """By the policy, in packs of `limit` tokens."""
    found: dict[tuple[int, int], float] = {}
    for parameter in policy.parameters.values():
        parameter.grad = None
    for pack in pack_rows(rows, limit):
        logprobs, entropies = policy.logprobs(pack, entropy_gradient=True)
        weighted_sum(logprobs, entropies, pack.advantages).backward()
        left = {number: iter(rows[number].positions) for number in set(pack.rows)}
        for number, value in zip(pack.rows, logprobs.tolist(), strict=True):
            found[number, next(left[number])] = value
    return found, gradients(policy)


def gradients(policy: TrainablePolicy) -> dict[str, Tensor]:
    """Of everything that has one."""
    return {name: one.grad.clone() for name, one in policy.parameters.items() if one.grad is not None}


def largest_gap(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The largest difference, next to the largest gradient where that is above 1."""
    assert first.keys() == second.keys()
    size = max(1.0, *(float(one.abs().max()) for one in first.values()))
    return max(float((first[name] - second[name]).abs().max()) for name in first) / size


@pytest.mark.parametrize("kind", KINDS)
@EVERY
@given(rows=forests(), limit=st.integers(4, 60))
def test_packed_rows_have_the_logprobs_and_gradients_of_separate_ones(
    kind: str, rows: list[PackRow], limit: int
) -> None:
    policy, general = make_policies(kind)
    wanted, wanted_gradients = separately(general, rows)
    found, found_gradients = packed(policy, rows, limit)
    assert found.keys() == wanted.keys()
    assert max(abs(found[key] - wanted[key]) for key in wanted) <= 1e-5
    assert largest_gap(found_gradients, wanted_gradients) <= 1e-5


@EVERY
@given(rows=forests(), limit=st.integers(4, 60), longest=st.integers(1, 3))
def test_what_is_done_otherwise_at_a_large_size_comes_to_the_same(
    rows: list[PackRow], limit: int, longest: int
) -> None:
    policy, general = make_policies()
    wanted, wanted_gradients = separately(general, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "LARGE", 0)
        patch.setattr(attention, "LONGEST_RUN", longest)
        found, found_gradients = packed(policy, rows, limit)
    assert found.keys() == wanted.keys()
    assert max(abs(found[key] - wanted[key]) for key in wanted) <= 1e-5
    assert largest_gap(found_gradients, wanted_gradients) <= 1e-5


@EVERY
@given(rows=forests(), limits=st.tuples(st.integers(4, 60), st.integers(4, 60)))
def test_the_general_pass_does_the_same_in_any_packs(rows: list[PackRow], limits: tuple[int, int]) -> None:
    policy, general = make_policies()
    found, found_gradients = packed(policy, rows, limits[0])
    wanted, wanted_gradients = packed(general, rows, limits[1])
    assert max(abs(found[key] - wanted[key]) for key in wanted) <= 1e-5
    assert largest_gap(found_gradients, wanted_gradients) <= 1e-5


@pytest.mark.parametrize(
    "targets", [["down_proj"], ["q_proj", "v_proj"], ["o_proj"], ["gate_proj", "k_proj"], ["layers.1.mlp.up_proj"]]
)
def test_adapters_on_some_projections_only_get_their_gradients(targets: list[str]) -> None:
    policy, general = make_policies(targets=targets)
    rows = [PackRow([1, 2, 3, 4], [2, 3], [None] * 2, [1.0, -0.5], [1.0] * 2),
            PackRow([1, 2, 3, 9, 7], [4], [None], [0.7], [1.0])]  # fmt: skip
    _, wanted = separately(general, rows)
    _, found = packed(policy, rows, 100)
    assert largest_gap(found, wanted) <= 1e-5


def test_layers_below_the_first_adapter_have_no_backward_pass() -> None:
    policy, _ = make_policies(targets=["layers.2.self_attn.q_proj"])
    (pack,) = pack_rows([PackRow([1, 2, 3, 4], [2, 3], [None] * 2, [1.0, -0.5], [1.0] * 2)], 100)
    logprobs, _ = policy.logprobs(pack, entropy_gradient=False)
    layers: set[Any] = set()
    waiting: list[Any] = [logprobs.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if "LayerFunction" in node.name():
            layers.add(node)
        waiting.extend(next_node for next_node, _ in node.next_functions)
    assert len(layers) == 1


def test_without_the_adapter_it_is_the_base_model() -> None:
    policy, _ = make_policies()
    (pack,) = pack_rows([PackRow([1, 2, 3, 4], [2, 3], [None] * 2, [1.0, -0.5], [1.0] * 2)], 100)
    with torch.no_grad():
        logits = make_base().model(input_ids=torch.tensor([[1, 2, 3]])).logits[0]
        with policy.without_adapter():
            bare, _ = policy.logprobs(pack, entropy_gradient=False)
        adapted, _ = policy.logprobs(pack, entropy_gradient=False)
    wanted = torch.log_softmax(logits[1:], -1).gather(-1, torch.tensor([[3], [4]]))[:, 0]
    assert (bare - wanted).abs().max() <= 1e-5
    assert (adapted - wanted).abs().max() > 1e-3


def test_adapters_have_the_names_shapes_and_configuration_of_peft() -> None:
    policy, general = make_policies()
    assert {name: value.shape for name, value in policy.tensors().items()} == {
        name: value.shape for name, value in general.tensors().items()
    }
    assert list(policy.parameters) == list(general.parameters)
    ours, theirs = dict(policy.configuration), dict(general.configuration)
    assert {key for key in theirs if ours[key] != theirs[key]} <= {"base_model_name_or_path", "inference_mode"}


@pytest.mark.parametrize("targets", [["lm_head"], ["q_proj", "embed_tokens"]])
def test_targets_outside_the_decoder_layers_take_the_general_pass(targets: list[str]) -> None:
    assert isinstance(build_policy(make_base(), Lora(target_modules=targets)), TransformersPolicy)


def test_a_model_built_otherwise_takes_the_general_pass() -> None:
    base = make_base()
    base.model.config.hidden_act = "gelu"
    assert isinstance(build_policy(base, Lora()), TransformersPolicy)
