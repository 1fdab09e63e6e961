"""Adapters that the lean forward takes from their files compute what PEFT computes; the others are left to PEFT."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.utils import set_peft_model_state_dict
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from apprentice_sidecar.checkpoints import AdapterCheckpoint
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import Lora
from apprentice_sidecar.serving import adapters
from apprentice_sidecar.serving.adapters import ServingTree
from apprentice_sidecar.serving.lean import LeanForward
from apprentice_sidecar.serving.lora import lean_adapter
from apprentice_sidecar.training.transformers.policy import TransformersPolicy, build_policy
from peft_steps import PLAIN, PROJECTIONS, Step, base_of, gap

MODELS = [(LlamaForCausalLM, LlamaConfig), (Qwen2ForCausalLM, Qwen2Config), (Qwen3ForCausalLM, Qwen3Config)]


@pytest.fixture
def without_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: Any) -> None:
        pytest.fail("PEFT was asked")

    monkeypatch.setattr(adapters, "peft_tree", unwanted)


@pytest.mark.usefixtures("without_peft")
@pytest.mark.parametrize(("architecture", "settings"), MODELS)
@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        PLAIN | {"r": 16, "lora_alpha": 7.5, "lora_dropout": 0.1, "init_lora_weights": "gaussian"},
        PLAIN | {"r": 4, "use_rslora": True},
        {"target_modules": ["k_proj", "up_proj"]},
        {"target_modules": ["self_attn.v_proj", "model.layers.1.mlp.down_proj"]},
    ],
)
def test_plain_lora_is_served_without_peft_and_gives_its_logits(
    config: dict[str, Any], architecture: Any, settings: Any, tmp_path: Path
) -> None:
    base = base_of(architecture, settings)
    tree, step = ServingTree(base), Step(base, tmp_path, **config)
    step.publish(tree)
    assert isinstance(tree.route(step.name), LeanForward)
    assert gap(tree, step) <= 1e-4 * float(step.logits().abs().max())


@pytest.mark.usefixtures("without_peft")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tensors_of_fewer_bits_are_scaled_in_float32_as_by_peft(dtype: torch.dtype, tmp_path: Path) -> None:
    base = base_of()
    step = Step(base, tmp_path / "other", **PLAIN)
    step.tensors = {name: value.to(dtype) for name, value in step.tensors.items()}
    set_peft_model_state_dict(step.model, dict(step.tensors))
    step.folder = tmp_path / "1"
    step.write()
    tree = ServingTree(base)
    step.publish(tree)
    assert gap(tree, step) <= 1e-4 * float(step.logits().abs().max())


@pytest.mark.usefixtures("without_peft")
def test_a_bfloat16_base_model_is_served_without_peft(tmp_path: Path) -> None:
    base = base_of(dtype="bfloat16")
    tree, step = ServingTree(base), Step(base, tmp_path, r=2, target_modules=["q_proj"])
    step.publish(tree)
    assert gap(tree, step) <= 0.1 * float(step.logits().abs().max())


@pytest.mark.parametrize(
    "config",
    [
        PLAIN | {"use_dora": True},
        PLAIN | {"target_modules": ["q_proj", "lm_head"]},
        PLAIN | {"rank_pattern": {"q_proj": 5}},
        PLAIN | {"alpha_pattern": {"v_proj": 9}},
        PLAIN | {"lora_bias": True},
        PLAIN | {"bias": "lora_only"},
        PLAIN | {"modules_to_save": ["norm"]},
        PLAIN | {"layers_to_transform": 0},
        PLAIN | {"exclude_modules": ["v_proj"]},
        PLAIN | {"target_modules": r".*\.1\..*q_proj"},
    ],
    ids=lambda config: next(name for name in reversed(config)),
)
def test_more_than_plain_lora_is_served_by_peft_beside_plain_steps(config: dict[str, Any], tmp_path: Path) -> None:
    base = base_of(Qwen2ForCausalLM, Qwen2Config)
    tree = ServingTree(base)
    weights = {name: value.clone() for name, value in base.model.named_parameters()}
    steps = [Step(base, tmp_path, 1, **PLAIN), Step(base, tmp_path, 2, **config), Step(base, tmp_path, 3, **config)]
    for step in steps:
        step.publish(tree)
    assert [isinstance(tree.route(step.name), LeanForward) for step in steps] == [True, False, False]
    assert max(gap(tree, step) for step in (*steps, *steps)) <= 1e-3
    # Two of them may hold biases or a head of their own, and no other sees those.
    assert all(torch.equal(value, weights[name]) for name, value in base.model.named_parameters())
    tree.drop("a@2")
    assert max(gap(tree, steps[0]), gap(tree, steps[2])) <= 1e-3
    tree.drop("a@3")
    tree.drop("a@1")
    assert tree.adapters == {}
    steps[1].publish(tree)
    assert gap(tree, steps[1]) <= 1e-3


def test_a_dropped_step_is_gone_from_the_lean_forward(tmp_path: Path) -> None:
    base = base_of()
    tree, step = ServingTree(base), Step(base, tmp_path, **PLAIN)
    step.publish(tree)
    tree.drop(step.name)
    with pytest.raises(KeyError):
        gap(tree, step)
    step.publish(tree)
    assert gap(tree, step) <= 1e-3


def without(name: str) -> Callable[[Step], None]:
    def change(step: Step) -> None:
        del step.tensors[name]

    return change


def one_more(step: Step) -> None:
    step.tensors["base_model.model.lm_head.lora_A.weight"] = torch.zeros(3, 24)


def of_other_shape(step: Step) -> None:
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    step.tensors[name] = step.tensors[name].t().contiguous()


def configured(**changes: Any) -> Callable[[Step], None]:
    def change(step: Step) -> None:
        step.config |= changes

    return change


@pytest.mark.parametrize("more", [{}, {"use_dora": True}], ids=["plain", "dora"])
@pytest.mark.parametrize(
    "spoil",
    [
        without("base_model.model.model.layers.2.self_attn.o_proj.lora_A.weight"),
        one_more,
        of_other_shape,
        configured(r=2),
        configured(target_modules=PROJECTIONS[:-1]),
        configured(target_modules=[*PROJECTIONS, "lm_head"]),
        configured(target_modules=["nowhere"]),
        configured(target_modules=["layers"]),
        configured(rank_pattern={"o_proj": 2}),
        configured(init_lora_weights="pissa"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_what_is_served(
    spoil: Callable[[Step], None], more: dict[str, Any], tmp_path: Path
) -> None:
    base = base_of()
    weights = {name: value.clone() for name, value in base.model.named_parameters()}
    tree, good = ServingTree(base), Step(base, tmp_path, 1, **PLAIN | more)
    good.publish(tree)
    bad = Step(base, tmp_path / "whole", 2, **PLAIN | more)
    spoil(bad)
    bad.folder = tmp_path / "2"
    bad.write()
    with pytest.raises(SidecarError) as refused:
        bad.publish(tree)
    assert refused.value.code == "adapter_invalid"
    assert list(tree.adapters) == [good.name]
    assert gap(tree, good) <= 1e-3
    assert all(torch.equal(value, weights[name]) for name, value in base.model.named_parameters())


@pytest.mark.parametrize("more", [{}, {"use_dora": True}], ids=["plain", "dora"])
def test_other_tensors_than_the_trainers_fail_the_canary(more: dict[str, Any], tmp_path: Path) -> None:
    base = base_of()
    tree, step = ServingTree(base), Step(base, tmp_path / "whole", 1, **PLAIN | more)
    # The canary is still that of the model; the file holds a quarter of the adapter's effect.
    step.tensors = {name: value * 0.5 if "lora_" in name else value for name, value in step.tensors.items()}
    step.folder = tmp_path / "1"
    step.write()
    with pytest.raises(SidecarError) as refused:
        step.publish(tree)
    assert refused.value.code == "adapter_canary_failed"
    assert tree.adapters == {}
    with pytest.raises(KeyError):
        gap(tree, step)


def test_checkpoints_of_the_trainer_are_plain_lora(tmp_path: Path) -> None:
    base = base_of()
    for policy in (build_policy(base, Lora()), TransformersPolicy(base, Lora(target_modules=["q_proj", "down_proj"]))):
        config = json.loads(json.dumps(dict(policy.configuration)))
        assert lean_adapter(base.model, AdapterCheckpoint(tmp_path, {}, config, dict(policy.tensors()))) is not None
