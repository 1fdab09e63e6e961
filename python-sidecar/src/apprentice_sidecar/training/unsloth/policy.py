"""A policy on Unsloth's model. Needs CUDA: `python-sidecar/gpu-check` compares it with transformers on a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

# Before transformers and PEFT make anything: it patches both.
import unsloth  # pyright: ignore[reportMissingImports] -- only in the set cuda-train  # isort: skip

import torch
from torch import Tensor
from torch.nn import Parameter

from ...base_model import DTYPES, BaseModel
from ...loss import token_logprobs
from ...packing import Pack
from ...protocol import Lora
from ..contract import check_tensors, parameter_name
from ..memory import peak_memory_bytes
from .names import served_name, target_modules
from .settings import adapter_arguments, model_arguments

#: Untyped: its package has no types, and is in the set cuda-train only.
_UNSLOTH: Any = unsloth


class PolicyKeeper:
    """Loads the model once: the next job with the same adapter shape gets it back with fresh weights."""

    def __init__(self, *, load_in_4bit: bool) -> None:
        self._load_in_4bit = load_in_4bit
        self._kept: tuple[Lora, UnslothPolicy] | None = None

    def policy(self, base: BaseModel, lora: Lora) -> UnslothPolicy:
        """The policy with a fresh adapter."""
        if self._kept is None or self._kept[0].model_copy(update={"seed": lora.seed}) != lora:
            self._kept = None  # frees the GPU before another one is loaded
            self._kept = (lora, UnslothPolicy(base, lora, load_in_4bit=self._load_in_4bit))
        policy = self._kept[1]
        policy.reset(lora.seed)
        return policy


class UnslothPolicy:
    """See `TrainablePolicy`."""

    #: Its attention kernels know causal masks only: packs hold one row each.
    isolates_rows = False

    def __init__(self, base: BaseModel, lora: Lora, *, load_in_4bit: bool) -> None:
        self._device = torch.device("cuda", torch.cuda.current_device()) if base.device.type == "cpu" else base.device
        model, _ = _UNSLOTH.FastLanguageModel.from_pretrained(
            **model_arguments(
                model=base.name,
                context_length=base.context_length,
                dtype=DTYPES[base.dtype],
                device=str(self._device),
                load_in_4bit=load_in_4bit,
                seed=lora.seed,
            )
        )
        self._model: Any = _UNSLOTH.FastLanguageModel.get_peft_model(model, **adapter_arguments(lora))
        _UNSLOTH.FastLanguageModel.for_training(self._model)
        modules = {name for name, _ in base.model.named_modules()}
        #: by PEFT's name of the tensor
        self._adapter: dict[str, Parameter] = {}
        for name, value in self._model.named_parameters():
            if value.requires_grad:
                # AdamW's small steps vanish in bfloat16.
                value.data = value.data.float()
                self._adapter[served_name(name, modules)] = value
        self.parameters: Mapping[str, Parameter] = {
            parameter_name(name): value for name, value in self._adapter.items()
        }

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """A fresh adapter: A uniform as PEFT draws it, B zero."""
        generator = torch.Generator(self._device).manual_seed(seed)
        for name, value in self._adapter.items():
            if name.endswith("lora_B.weight"):
                value.zero_()
            else:
                bound = 1 / math.sqrt(value.shape[1])
                value.uniform_(-bound, bound, generator=generator)
            value.grad = None

    @property
    def configuration(self) -> Mapping[str, Any]:
        config = self._model.peft_config["default"].to_dict()
        return config | {"target_modules": target_modules(self._adapter)}

    def logprobs(self, pack: Pack, *, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        # One row: positions and the causal mask are what the model makes by itself.
        output = self._model(input_ids=torch.tensor([pack.token_ids], device=self._device), use_cache=False)
        hidden = output.logits[0]
        head = self._model.get_output_embeddings()
        chosen = hidden[torch.tensor(pack.sources, device=self._device)].to(head.weight.dtype)
        targets = torch.tensor(pack.targets, device=self._device)
        return token_logprobs(chosen, targets, head, entropy_gradient=entropy_gradient)

    def without_adapter(self) -> AbstractContextManager[Any]:
        return self._model.disable_adapter()

    def tensors(self) -> Mapping[str, Tensor]:
        return {name: value.detach() for name, value in self._adapter.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        check_tensors(self._adapter, tensors)
        for name, value in self._adapter.items():
            value.copy_(tensors[name])

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes(self._device)
