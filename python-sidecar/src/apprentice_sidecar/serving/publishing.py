"""What every serving engine checks of a step before it gives its name out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..checkpoints import AdapterCheckpoint, adapter_invalid
from ..errors import SidecarError
from .contract import PublishedAdapter

#: Largest |served − trainer| in nats that a canary may show, by the precision of the base weights.
CANARY_BOUNDS = {"float32": 1e-3, "bfloat16": 0.25}

A = TypeVar("A", bound=PublishedAdapter)


@dataclass(frozen=True)
class Canary:
    """A sequence, and the trainer's logprobs of its tokens from `first` on."""

    token_ids: list[int]
    first: int
    logprobs: list[float]


def published_before(name: str, checkpoint: AdapterCheckpoint, known: A | None) -> A | None:
    """`known`, what `name` stands for, where the checkpoint is the same; None where the name is free.

    Raises SidecarError where the name stands for other weights, or is not the checkpoint's own.
    """
    if known is not None:
        if known.digest == checkpoint.digest:
            return known
        raise name_taken(name)
    manifest_name = f"{checkpoint.manifest.get('name')}@{checkpoint.manifest.get('step')}"
    if manifest_name != name:
        raise adapter_invalid(checkpoint.folder, f"its manifest says {manifest_name}, not {name}")
    return None


def canary_of(checkpoint: AdapterCheckpoint) -> Canary:
    """The canary of a checkpoint's manifest; raises SidecarError where there is none."""
    canary = checkpoint.manifest.get("canary")
    if not isinstance(canary, dict):
        raise adapter_invalid(checkpoint.folder, "its manifest has no canary")
    return Canary(canary["token_ids"], canary["first"], canary["logprobs"])


def compare_canary(canary: Canary, served: Sequence[float], base: Sequence[float], *, dtype: str) -> dict[str, float]:
    """Gaps in nats between the trainer's logprobs and those of the served step and of the base model.

    Raises SidecarError `adapter_canary_failed` where a served one is further away than `dtype` explains.
    """
    gaps = [abs(one - other) for one, other in zip(served, canary.logprobs, strict=True)]
    base_gaps = [abs(one - other) for one, other in zip(base, canary.logprobs, strict=True)]
    report = {
        "tokens": float(len(gaps)),
        "mean_gap": sum(gaps) / len(gaps),
        "max_gap": max(gaps),
        "base_gap": sum(base_gaps) / len(base_gaps),
    }
    bound = CANARY_BOUNDS[dtype]
    if not all(gap <= bound for gap in gaps):
        raise SidecarError(
            "adapter_canary_failed",
            f"The served adapter gives other logprobs than its trainer: up to {report['max_gap']:.2g} nats apart, "
            f"where {bound:g} is allowed.",
            fix="Train the step again; what is served stays as it is.",
            http_status=422,
            param="lora_path",
        )
    return report


def name_taken(name: str) -> SidecarError:
    """The refusal of other bytes under a used name."""
    return SidecarError(
        "adapter_name_taken",
        f"{name} is served with other weights.",
        fix="A name is never used for other bytes: publish under the next step.",
        http_status=409,
        param="lora_name",
    )
