"""Choosing a training engine, and what of the engines can be told without their packages and devices."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from apprentice_sidecar.base_model import BaseModel, check_device
from apprentice_sidecar.checkpoints import read_adapter
from apprentice_sidecar.engine_options import add_engine_options, load_engines
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.loss import LossSettings, TokenBatch, policy_loss
from apprentice_sidecar.packing import PackRow, pack_rows
from apprentice_sidecar.protocol import Lora
from apprentice_sidecar.training.engines import REQUIREMENTS, training_engine
from apprentice_sidecar.training.torchtune import names as torchtune_names
from apprentice_sidecar.training.torchtune.shape import decoder_shape
from apprentice_sidecar.training.trainer import run_job
from apprentice_sidecar.training.transformers.policy import TransformersPolicy
from apprentice_sidecar.training.unsloth import names, settings
from tiny import request, row, tiny_base

SETS = Path(__file__).parents[1] / "requirements"
ROWS = [row(0, "g", [1, 2, 3, 4, 5, 6, 7, 8], [6, 7], 1.0), row(1, "g", [1, 2, 3, 9, 8, 7], [4, 5], -1.0)]
#: Tokens of the rows up to the last one that predicts a trained token; three are common to both.
INPUTS = 7 + 5


def no_cuda() -> bool:
    return not torch.cuda.is_available()


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return parser.parse_args(["--model", "nowhere", *given])


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(SidecarError, match="no training engine 'jax'") as refused:
        training_engine("jax")
    assert refused.value.code == "training_engine_unknown"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_unsloth_is_refused_without_a_gpu_before_anything_is_loaded() -> None:
    with pytest.raises(SidecarError, match="NVIDIA GPUs only") as refused:
        load_engines(options("--training", "unsloth"), lambda _stage, _text: None)
    assert refused.value.code == "no_cuda"


@pytest.mark.parametrize(
    ("device", "code"),
    [
        ("tpu9", "device_unknown"),
        pytest.param("cuda", "no_cuda", marks=pytest.mark.skipif(not no_cuda(), reason="GPU")),
    ],
)
def test_a_device_that_is_not_there_is_refused(device: str, code: str) -> None:
    with pytest.raises(SidecarError) as refused:
        check_device(device)
    assert refused.value.code == code


def test_four_bits_are_refused_where_the_engine_cannot() -> None:
    with pytest.raises(SidecarError, match="transformers does not train on 4-bit") as refused:
        load_engines(options("--quantization", "4bit"), lambda _stage, _text: None)
    assert refused.value.param == "quantization"


def pins(name: str) -> dict[str, str]:
    lines = (SETS / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_set_pins_exactly_and_shares_what_server_and_trainer_must_agree_on() -> None:
    for name in (*REQUIREMENTS.values(), "cuda-serve.txt"):
        text = (SETS / name).read_text()
        for line in text.splitlines():
            assert line == "" or line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_-]+==[0-9.]+", line), line
        for package in ("torch", "transformers", "tokenizers"):
            assert pins(name)[package] == pins("cpu.txt")[package]
    served_by_us = set(pins("cpu.txt")) - {"peft"}
    for name in set(REQUIREMENTS.values()):
        assert {package: pins(name)[package] for package in served_by_us} == {
            package: version for package, version in pins("cpu.txt").items() if package in served_by_us
        }


def test_unsloth_loads_this_very_model_in_16_bits() -> None:
    made = settings.model_arguments(
        model="Qwen/Qwen3-4B", context_length=4096, dtype="bf16", device="cuda:1", load_in_4bit=False, seed=7
    )
    assert made["use_exact_model_name"] is True
    assert (made["load_in_4bit"], made["load_in_16bit"], made["fast_inference"]) == (False, True, False)
    assert made["device_map"] == {"": "cuda:1"}
    assert settings.ENVIRONMENT["UNSLOTH_RETURN_HIDDEN_STATES"] == "1"


def test_unsloth_gets_the_adapter_that_was_asked_for() -> None:
    made = settings.adapter_arguments(Lora(rank=4, alpha=8, target_modules=["v_proj", "q_proj"], seed=11))
    assert (made["r"], made["lora_alpha"], made["random_state"]) == (4, 8, 11)
    assert made["target_modules"] == ["q_proj", "v_proj"]
    assert settings.adapter_arguments(Lora())["target_modules"] == sorted(settings.LINEAR)


SERVED = {"model.layers.0.self_attn.q_proj", "model.layers.10.mlp.up_proj"}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", "layers.0.self_attn.q_proj.lora_A"),
        ("base_model.model.model.language_model.layers.10.mlp.up_proj.lora_B.weight", "layers.10.mlp.up_proj.lora_B"),
        ("base_model.model.language_model.model.layers.10.mlp.up_proj.lora_B.weight", "layers.10.mlp.up_proj.lora_B"),
    ],
)
def test_unsloths_tensor_names_become_those_of_the_served_model(given: str, made: str) -> None:
    assert names.served_name(given, SERVED) == f"base_model.model.model.{made}.weight"


def test_a_tensor_of_no_served_module_is_refused() -> None:
    with pytest.raises(ValueError, match="no module of the served model"):
        names.served_name("base_model.model.model.layers.3.mlp.up_proj.lora_A.weight", SERVED)
    with pytest.raises(ValueError, match="no adapter tensor"):
        names.served_name("model.layers.0.mlp.up_proj.weight", SERVED)


def test_target_modules_are_an_explicit_list() -> None:
    tensors = [f"base_model.model.model.layers.{layer}.mlp.{name}.lora_A.weight" for layer in (0, 1)
               for name in ("up_proj", "down_proj")]  # fmt: skip
    assert names.target_modules(tensors) == ["down_proj", "up_proj"]


def test_torchtunes_names_go_there_and_back() -> None:
    for theirs in torchtune_names.LINEAR:
        ours = torchtune_names.base_name(f"model.layers.12.{theirs}.weight", head_norms=True)
        assert ours is not None
        adapter = ours.removesuffix(".weight") + ".lora_a.weight"
        assert torchtune_names.adapter_name(adapter) == f"base_model.model.model.layers.12.{theirs}.lora_A.weight"
    assert torchtune_names.base_name("lm_head.weight", head_norms=False) is None
    with pytest.raises(ValueError, match="no adapter tensor"):
        torchtune_names.adapter_name("layers.0.attn.q_proj.weight")


QWEN3 = {"model_type": "qwen3", "hidden_act": "silu", "vocab_size": 9, "num_hidden_layers": 1, "hidden_size": 64,
         "num_attention_heads": 4, "intermediate_size": 9, "rms_norm_eps": 1e-6, "head_dim": 32}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "gemma3"}, "model type 'gemma3'"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "type 'dynamic'"),
        ({"use_sliding_window": True}, "sliding attention window"),
        ({"num_attention_heads": 6}, "width of 64 with 6 heads"),
    ],
)
def test_torchtune_refuses_shapes_that_it_has_not(change: dict[str, Any], reason: str) -> None:
    assert decoder_shape(QWEN3).head_width == 32
    with pytest.raises(SidecarError, match=reason):
        decoder_shape(QWEN3 | change)


def sliding_base() -> BaseModel:
    """A model whose second layer sees three tokens back: a mask over the whole pack would hide that."""
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, use_sliding_window=True, sliding_window=3,
        layer_types=["full_attention", "sliding_attention"],
    )  # fmt: skip
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    nothing: Any = None
    return BaseModel("slides", model.eval().requires_grad_(False), nothing, "sha256:s", "t", "c", 64, "float32")


def test_rows_of_models_whose_layers_slide_are_not_packed_together(tmp_path: Path) -> None:
    base = sliding_base()
    started, *_ = list(run_job(base, request(tmp_path / "1", ROWS, optimizer={"learning_rate": 1e-9}), "d",
                               lambda: False))  # fmt: skip
    assert started["packed_tokens"] == INPUTS
    canary = read_adapter(tmp_path / "1", expect_base_digest="sha256:s").manifest["canary"]
    with torch.no_grad():
        logits = base.model(input_ids=torch.tensor([canary["token_ids"]])).logits[0]
    ids = torch.tensor(canary["token_ids"][canary["first"] :])
    plain = torch.log_softmax(logits[canary["first"] - 1 : -1], -1).gather(-1, ids[:, None])[:, 0]
    assert float((plain - torch.tensor(canary["logprobs"])).abs().max()) < 1e-5


def test_full_attention_packs_rows_together(tmp_path: Path) -> None:
    started, *_ = list(run_job(tiny_base(), request(tmp_path / "1", ROWS), "d", lambda: False))
    assert started["packed_tokens"] == INPUTS - 3


def test_everything_is_made_on_the_base_models_device() -> None:
    """What names no device lands on the surrounding one, which here holds no numbers: a forgotten one is an error."""
    base = tiny_base()
    policy = TransformersPolicy(base, Lora(rank=4, alpha=8))
    (pack,) = pack_rows([PackRow([1, 2, 3, 4], [2, 3], [-1.0, -2.0], [1.0, 1.0], [1.0, 1.0])], 64)
    batch = TokenBatch(*(torch.tensor(values) for values in (pack.logprobs, pack.advantages, pack.weights, pack.rows)))
    with torch.device("meta"):
        new, entropy = policy.logprobs(pack, entropy_gradient=True)
        loss = policy_loss(new, entropy, batch, LossSettings(importance_sampling="sequence"), base=new.detach() - 0.5)
        loss.total.backward()
    assert all(value.grad is not None and value.grad.device.type == "cpu" for value in policy.parameters.values())


def test_long_packs_are_computed_twice_and_come_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = TransformersPolicy(tiny_base(), Lora(rank=4, alpha=8))
    generator = torch.Generator().manual_seed(4)
    policy.load({name: torch.randn(value.shape, generator=generator) for name, value in policy.tensors().items()})
    rows = [PackRow(one.token_ids, one.positions, [None] * 2, [1.0] * 2, [1.0] * 2)
            for one in request(Path("unused"), ROWS).rows]  # fmt: skip
    (pack,) = pack_rows(rows, 64)
    found: list[dict[str, torch.Tensor]] = []
    runs = 0

    def count(*_: Any) -> None:
        nonlocal runs
        runs += 1

    policy._model.get_base_model().model.layers[1].mlp.register_forward_pre_hook(count)
    for bound in (4096, 0):
        monkeypatch.setattr("apprentice_sidecar.training.transformers.policy.RECOMPUTED_TOKENS", bound)
        policy.logprobs(pack, entropy_gradient=False)[0].sum().backward()
        found.append({name: value.grad.clone() for name, value in policy.parameters.items() if value.grad is not None})
        for value in policy.parameters.values():
            value.grad = None
    assert runs == 1 + 2
    assert all(torch.allclose(value, found[1][name], atol=1e-6) for name, value in found[0].items())
