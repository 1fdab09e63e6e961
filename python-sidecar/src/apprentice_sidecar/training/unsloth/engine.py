"""Makes the engine, or says why there is none on this machine."""

from __future__ import annotations

import os

import torch

from ...base_model import BaseModel
from ...errors import SidecarError
from ...protocol import Lora
from ..contract import TrainablePolicy, TrainingEngine
from .settings import ENVIRONMENT


def unsloth_engine(*, load_in_4bit: bool) -> TrainingEngine:
    """Must be called before transformers makes a model: Unsloth patches it when it is imported. Raises SidecarError."""
    if not torch.cuda.is_available():
        raise SidecarError(
            "no_cuda",
            f"Unsloth trains on NVIDIA GPUs only, and torch {torch.__version__} sees none.",
            fix="Use training: 'transformers', which runs everywhere, or start on a machine with a GPU.",
            param="training",
        )
    os.environ.update(ENVIRONMENT)
    from .policy import PolicyKeeper

    keeper = PolicyKeeper(load_in_4bit=load_in_4bit)

    def build(base: BaseModel, lora: Lora) -> TrainablePolicy:
        return keeper.policy(base, lora)

    return TrainingEngine("unsloth", _check, build)


def _check(base: BaseModel) -> None:
    if base.dtype != "bfloat16":
        raise SidecarError(
            "training_engine_unsuited",
            f"Unsloth trains in 16 bits, and the base model was loaded in {base.dtype}.",
            fix="Use --dtype bfloat16.",
            param="dtype",
        )
