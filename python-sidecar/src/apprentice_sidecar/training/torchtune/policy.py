"""A policy of torchtune's modules that shares the base model's weights; it reads and writes PEFT's adapters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torchtune.modules.peft import disable_adapter, get_adapter_params

from ...base_model import BaseModel
from ...loss import token_logprobs
from ...packing import Pack
from ...protocol import Lora
from ..contract import check_tensors, parameter_name
from ..memory import peak_memory_bytes
from ..transformers.policy import lora_config
from .decoder import Rotary, build_decoder
from .names import LINEAR, adapter_name
from .shape import decoder_shape


def check(base: BaseModel) -> None:
    """Raises SidecarError 422 where the base model is not of a kind that torchtune's modules can be."""
    decoder_shape(base.model.config.to_dict())


def build_policy(base: BaseModel, lora: Lora) -> TorchtunePolicy:
    """A fresh adapter on torchtune's modules around the base model's weights. Raises SidecarError."""
    return TorchtunePolicy(base, lora)


class TorchtunePolicy:
    """See `TrainablePolicy`."""

    isolates_rows = True

    def __init__(self, base: BaseModel, lora: Lora) -> None:
        self._lora = lora
        self._device = base.device
        self._decoder = build_decoder(base, decoder_shape(base.model.config.to_dict()), lora)
        self._rotary = next(module for module in self._decoder.modules() if isinstance(module, Rotary))
        self._head: Any = base.model.get_output_embeddings()
        #: by PEFT's name of the tensor
        self._adapter: dict[str, Parameter] = {
            adapter_name(name): value for name, value in get_adapter_params(self._decoder).items()
        }
        self.parameters: Mapping[str, Parameter] = {
            parameter_name(name): value for name, value in self._adapter.items()
        }

    @property
    def configuration(self) -> Mapping[str, Any]:
        config = lora_config(self._lora).to_dict()
        config["target_modules"] = sorted(self._lora.target_modules or [name.split(".")[-1] for name in LINEAR])
        return config

    def logprobs(self, pack: Pack, *, entropy_gradient: bool) -> tuple[Tensor, Tensor]:
        device = self._device
        self._rotary.reserve(max(pack.depths) + 1)
        hidden = self._decoder(
            torch.tensor([pack.token_ids], device=device),
            # A line without forks is plain causal attention, which is the default.
            mask=torch.from_numpy(pack.mask()).to(device)[None] if len(pack.parents) > 1 else None,
            input_pos=torch.tensor([pack.depths], device=device),
        )[0]
        sources = torch.tensor(pack.sources, device=device)
        # torchtune gives float32 whatever the weights are.
        chosen = hidden[sources].to(self._head.weight.dtype)
        targets = torch.tensor(pack.targets, device=device)
        return token_logprobs(chosen, targets, self._head, entropy_gradient=entropy_gradient)

    def without_adapter(self) -> AbstractContextManager[Any]:
        return disable_adapter(self._decoder)

    def tensors(self) -> Mapping[str, Tensor]:
        return {name: value.detach() for name, value in self._adapter.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        check_tensors(self._adapter, tensors)
        for name, value in self._adapter.items():
            value.copy_(tensors[name])

    def peak_memory_bytes(self) -> int:
        return peak_memory_bytes(self._device)
