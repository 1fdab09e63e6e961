"""A LoRA adapter as plain tensors, under the names that PEFT gives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from ...protocol import Lora

#: The linear layers of a decoder layer, in the order of its modules.
PROJECTIONS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def targeted(layers: int, targets: Sequence[str] | None) -> list[str] | None:
    """The modules that get an adapter; None where a target is not one of the decoder layers' projections.

    A target is a module's name or an ending of it, as PEFT has it; without targets it is every projection.
    """
    every = [f"model.layers.{layer}.{name}" for layer in range(layers) for name in PROJECTIONS]
    if targets is None:
        return every
    if any(not any(_matches(name, target) for name in every) for target in targets):
        return None
    return [name for name in every if any(_matches(name, target) for target in targets)]


def _matches(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


class Adapter:
    """A and B for each module; A is random as in LoRA (arXiv 2106.09685), B is 0: it begins as no change at all."""

    def __init__(self, causal: Any, modules: Sequence[str], lora: Lora) -> None:
        generator = torch.Generator().manual_seed(lora.seed)
        self.scaling = lora.alpha / lora.rank
        self.parameters: dict[str, Parameter] = {}
        for module in modules:
            weight = causal.get_submodule(module).weight
            a = torch.empty(lora.rank, weight.shape[1])
            torch.nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
            self.parameters[_parameter(module, "A")] = Parameter(a)
            self.parameters[_parameter(module, "B")] = Parameter(torch.zeros(weight.shape[0], lora.rank))

    def of(self, module: str) -> tuple[Parameter | None, Parameter | None]:
        """A and B of a module; None where it has none."""
        return self.parameters.get(_parameter(module, "A")), self.parameters.get(_parameter(module, "B"))

    def tensors(self) -> dict[str, Tensor]:
        """As `adapter_model.safetensors` holds them."""
        return {name.replace(".default.", "."): value.detach() for name, value in self.parameters.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Copies tensors of the same names and shapes."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])


def _parameter(module: str, letter: str) -> str:
    return f"base_model.model.{module}.lora_{letter}.default.weight"
