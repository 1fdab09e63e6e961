"""A random model of a few thousand parameters, and training requests for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from apprentice_sidecar.base_model import BaseModel
from apprentice_sidecar.protocol import TrainingJobRequest, parse

VOCABULARY = 32


def tiny_base(seed: int = 0) -> BaseModel:
    """A base model without a tokenizer: the trainer needs none."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config)
    model.eval()
    model.requires_grad_(False)
    nothing: Any = None
    return BaseModel("tiny", model, nothing, f"sha256:{seed}", "sha256:t", "sha256:c", 64, "float32")


def row(number: int, group: str, ids: list[int], positions: list[int], advantage: float) -> dict[str, Any]:
    """A row in which all trained tokens have the same advantage and no sampler's logprob."""
    count = len(positions)
    return {
        "row_id": f"r{number}",
        "group_id": group,
        "token_ids": ids,
        "positions": positions,
        "logprobs": [None] * count,
        "advantages": [advantage] * count,
        "weights": [1.0] * count,
    }


def request(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> TrainingJobRequest:
    """A training request; `changes` replace parts of it."""
    adapter = {"name": "a", "step": 1, "parent": None, "folder": str(folder), "lora": {"rank": 4, "alpha": 8}}
    body = {"job_id": "job", "adapter": adapter, "rows": rows, "optimizer": {"learning_rate": 0.02}}
    return parse(TrainingJobRequest, body | changes)
