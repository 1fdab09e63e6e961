"""Only configurations that are known to be plain LoRA are taken for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from peft import LoraConfig

from apprentice_sidecar.serving.plain_lora import plain_lora
from peft_steps import PLAIN, PROJECTIONS


def config_with(**changes: Any) -> Mapping[str, Any]:
    written = LoraConfig(**PLAIN).to_dict() | {"target_modules": PROJECTIONS}
    return json.loads(json.dumps(written | changes))


def test_the_scaling_is_alpha_by_rank_or_by_its_root() -> None:
    plain, stable = plain_lora(config_with()), plain_lora(config_with(r=4, use_rslora=True))
    assert plain is not None and (plain.rank, plain.scaling) == (3, 5 / 3)
    assert stable is not None and (stable.rank, stable.scaling) == (4, 2.5)


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "LOHA"},
        {"fan_in_fan_out": True},
        {"use_rslora": 1},
        {"r": 0},
        {"r": 2.0},
        {"lora_alpha": True},
        {"lora_alpha": None},
        {"target_modules": None},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", 3]},
        {"layers_to_transform": 0},
        {"trainable_token_indices": []},
        {"alora_invocation_tokens": [1]},
        {"layer_replication": [[0, 2]]},
        {"target_parameters": ["mlp.weight"]},
        {"init_lora_weights": "olora"},
        {"a_field_of_tomorrow": "on"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_may_change_the_outcome_is_not_plain_lora(changes: dict[str, Any]) -> None:
    assert plain_lora(config_with(**changes)) is None


def test_fields_that_ask_for_nothing_and_notes_are_plain_lora() -> None:
    notes = {"a_field_of_tomorrow": None, "peft_version": "0.1", "task_type": "CAUSAL_LM", "inference_mode": True}
    assert plain_lora(config_with(**notes, revision="main", lora_dropout=0.5)) is not None
