"""Whether a device, or an engine, computes what transformers computes on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from shapes import random_base

from apprentice_sidecar.base_model import load_base
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.loss import LossSettings, TokenBatch, policy_loss
from apprentice_sidecar.packing import Pack, PackRow, pack_rows
from apprentice_sidecar.protocol import Lora
from apprentice_sidecar.training.contract import TrainablePolicy
from apprentice_sidecar.training.engines import training_engine
from apprentice_sidecar.training.transformers.policy import TransformersPolicy

#: Largest gap in nats, in loss and in gradient that float32 on another device may show.
FLOAT32_BOUND = 1e-3
#: Mean gap in nats between two engines, both in bfloat16.
BFLOAT16_BOUND = 0.02
LORA = Lora(rank=16, alpha=32)


def device_parity(device: str) -> dict[str, Any]:
    """Each engine in float32 on the device against transformers' own pass on the CPU; and bfloat16, for the record."""
    wanted = _numbers(TransformersPolicy(random_base("tiny", "cpu", "float32"), LORA))
    found: dict[str, Any] = {}
    for name in ("transformers", "torchtune"):
        try:
            build = training_engine(name).build
        except SidecarError as error:
            found[name] = {"status": "unavailable", "reason": error.message}
            continue
        gaps = _gaps(wanted, _numbers(build(random_base("tiny", device, "float32"), LORA)))
        half = _gaps(wanted, _numbers(build(random_base("tiny", device, "bfloat16"), LORA)))
        passed = max(gaps["logprob_max"], gaps["loss"], gaps["gradient_max"]) <= FLOAT32_BOUND
        found[name] = {"status": "ok" if passed else "failed", "bound": FLOAT32_BOUND, "float32": gaps,
                       "bfloat16": half}  # fmt: skip
    return found


def unsloth_parity(folder: Path, device: str) -> dict[str, Any]:
    """Unsloth against transformers, both in bfloat16 on the device, on a model from a folder."""
    try:
        # First of all: it patches transformers when it is imported.
        build = training_engine("unsloth").build
    except SidecarError as error:
        return {"status": "unavailable", "reason": error.message, "parity": False}
    base = load_base(str(folder), dtype="bfloat16", device=device)
    gaps = _gaps(_numbers(TransformersPolicy(base, LORA)), _numbers(build(base, LORA)))
    passed = gaps["logprob_mean"] <= BFLOAT16_BOUND
    return {"status": "ok" if passed else "failed", "parity": passed, "bound": BFLOAT16_BOUND, "bfloat16": gaps}


def _numbers(policy: TrainablePolicy) -> dict[str, Any]:
    """Logprobs, loss and gradients under one fixed adapter, on two rows that share a prefix where packs may."""
    generator = torch.Generator().manual_seed(1)
    adapter = {name: torch.randn(value.shape, generator=generator) * 0.05
               for name, value in sorted(policy.tensors().items())}  # fmt: skip
    policy.load(adapter)
    logprobs: list[torch.Tensor] = []
    rows: list[int] = []
    loss = 0.0
    for pack in _packs(policy.isolates_rows):
        new, entropy = policy.logprobs(pack, entropy_gradient=True)
        batch = TokenBatch(*(torch.tensor(values, device=new.device)
                             for values in (pack.logprobs, pack.advantages, pack.weights, pack.rows)))  # fmt: skip
        result = policy_loss(new, entropy, batch, LossSettings())
        result.total.backward()
        loss += float(result.total.detach())
        logprobs.append(new.detach().float().cpu())
        rows += pack.rows
    gradients = {name: value.grad.float().cpu() for name, value in policy.parameters.items() if value.grad is not None}
    # Targets of a row ascend in every pack, whichever pack the row is in.
    order = torch.tensor(rows).argsort(stable=True)
    return {"logprobs": torch.cat(logprobs)[order], "loss": loss, "gradients": gradients}


def _packs(isolate: bool) -> list[Pack]:
    prompt = [(7 * place) % 400 + 1 for place in range(48)]
    rows: list[PackRow] = []
    for number in range(2):
        ids = [*prompt, *((11 * place + 5 * number) % 400 + 1 for place in range(32))]
        places = list(range(48, 80))
        rows.append(PackRow(ids, places, [-6.0] * 32, [1.0 - 2 * number] * 32, [1.0] * 32))
    return pack_rows(rows, 256, isolate=isolate)


def _gaps(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, float]:
    logprobs = (wanted["logprobs"] - found["logprobs"]).abs()
    gradients = [float((wanted["gradients"][name] - value).abs().max()) for name, value in found["gradients"].items()]
    return {
        "logprob_mean": float(logprobs.mean()),
        "logprob_max": float(logprobs.max()),
        "loss": abs(wanted["loss"] - found["loss"]),
        "gradient_max": max(gradients),
    }
