"""What Unsloth is called with. Pure.

Left to itself Unsloth loads 4-bit weights from repositories of its own, which are not the weights that are served.
"""

from __future__ import annotations

from typing import Any

from ...protocol import Lora

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

#: Must be set before Unsloth is imported.
ENVIRONMENT = {
    # Hidden states in place of logits: ours are computed in chunks, on the targets alone.
    "UNSLOTH_RETURN_HIDDEN_STATES": "1",
    # Its compiler works anew for each length of a sequence.
    "UNSLOTH_COMPILE_DISABLE": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
}


def model_arguments(
    *, model: str, context_length: int, dtype: Any, device: str, load_in_4bit: bool, seed: int
) -> dict[str, Any]:
    """For `FastLanguageModel.from_pretrained`: this very model, in 16 bits unless asked otherwise."""
    return {
        "model_name": model,
        "max_seq_length": context_length,
        "dtype": dtype,
        "load_in_4bit": load_in_4bit,
        "load_in_8bit": False,
        "load_in_16bit": not load_in_4bit,
        "full_finetuning": False,
        "device_map": {"": device},
        "use_gradient_checkpointing": "unsloth",
        "fast_inference": False,
        # Without it a 4-bit load is sent to another repository without a word.
        "use_exact_model_name": True,
        "trust_remote_code": False,
        "random_state": seed,
        "max_lora_rank": 512,
    }


def adapter_arguments(lora: Lora) -> dict[str, Any]:
    """For `FastLanguageModel.get_peft_model`."""
    return {
        "r": lora.rank,
        "target_modules": sorted(lora.target_modules or LINEAR),
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_gradient_checkpointing": "unsloth",
        "random_state": lora.seed,
        "use_rslora": False,
    }
