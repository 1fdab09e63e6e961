"""Tokens per second, memory and swap time of LoRA training, by shape and length."""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from shapes import SHAPES, random_base

from apprentice_sidecar.base_model import BaseModel
from apprentice_sidecar.protocol import TrainingJobRequest, parse
from apprentice_sidecar.serving.adapters import ServingTree
from apprentice_sidecar.training.trainer import run_job

RANK = 16
#: Gradient steps that are timed, after one that is not.
TIMED = 3
#: Share of a row that is trained: the rest is prompt.
TRAINED = 0.25


def measure(shape: str, device: str, dtype: str) -> list[dict[str, Any]]:
    """One entry for each length; what does not fit the memory says so and the next one goes on."""
    base = random_base(shape, device, dtype)
    entries: list[dict[str, Any]] = []
    for length in SHAPES[shape].lengths:
        entry: dict[str, Any] = {"shape": shape, "length": length, "rank": RANK, "dtype": dtype}
        try:
            entry |= _one(base, length, device)
        except torch.cuda.OutOfMemoryError as error:
            entry |= {"status": "out of memory", "reason": str(error).splitlines()[0]}
        entries.append(entry)
        _free(device)
    return entries


def _one(base: BaseModel, length: int, device: str) -> dict[str, Any]:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "1"
        events = list(run_job(base, _request(base, target, length), "sha256:check", lambda: False))
        seconds = [event["metrics"]["seconds"] for event in events if event["type"] == "gradient_step"][1:]
        started = time.monotonic()
        # The server's thread does so, too: what it makes lies where the weights lie.
        with torch.device(device):
            canary = ServingTree(base).publish("check@1", target).canary
        swap = time.monotonic() - started
    return {
        "status": "ok",
        "tokens_per_second": length / median(seconds),
        "seconds_per_step": seconds,
        "peak_memory_bytes": events[-1]["metrics"]["peak_memory_bytes"],
        "swap_seconds": swap,
        "canary": canary,
    }


def _request(base: BaseModel, folder: Path, length: int) -> TrainingJobRequest:
    vocabulary = int(base.model.config.vocab_size)
    ids = [(7919 * place + 13) % vocabulary for place in range(length)]
    places = list(range(int(length * (1 - TRAINED)), length))
    count = len(places)
    row = {"row_id": "r", "group_id": "g", "token_ids": ids, "positions": places, "logprobs": [None] * count,
           "advantages": [1.0] * count, "weights": [1.0] * count}  # fmt: skip
    adapter = {"name": "check", "step": 1, "parent": None, "folder": str(folder),
               "lora": {"rank": RANK, "alpha": 2 * RANK}}  # fmt: skip
    optimizer = {"learning_rate": 1e-5, "epochs": 1 + TIMED, "tokens_per_batch": max(16, length)}
    return parse(TrainingJobRequest, {"job_id": "check", "adapter": adapter, "rows": [row], "optimizer": optimizer})


def _free(device: str) -> None:
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
