"""Random models of the shapes that are measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, Qwen3Config

from apprentice_sidecar.base_model import DTYPES, BaseModel


@dataclass(frozen=True)
class Shape:
    """A Qwen3 shape, and the lengths at which it is trained, tokens."""

    config: dict[str, Any]
    lengths: tuple[int, ...]


def _qwen3(width: int, layers: int, heads: int, intermediate: int, vocabulary: int = 151_936) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": min(8, heads),
        "head_dim": 128 if vocabulary > 1000 else 16,
        "intermediate_size": intermediate,
        "tie_word_embeddings": True,
        "max_position_embeddings": 40_960,
    }


SHAPES = {
    "tiny": Shape(_qwen3(64, 2, 4, 128, vocabulary=512), (128, 512)),
    "0.6b": Shape(_qwen3(1024, 28, 16, 3072), (2048, 16_384)),
    "4b": Shape(_qwen3(2560, 36, 32, 9728), (2048, 16_384)),
}


def random_base(shape: str, device: str, dtype: str) -> BaseModel:
    """A model with random weights, the same for one shape and precision on every device."""
    torch.manual_seed(0)
    config = Qwen3Config(**SHAPES[shape].config)
    # Large ones are drawn on the device at once: nobody compares their numbers.
    with torch.device("cpu" if shape == "tiny" else device):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype], attn_implementation="sdpa")
    model = model.to(device).eval().requires_grad_(False)
    nothing: Any = None
    return BaseModel(f"random-{shape}", model, nothing, f"sha256:{shape}", "t", "c", 40_960, dtype)
