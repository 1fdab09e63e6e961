"""An adapter in a module tree of its own, put there by PEFT: for every kind of adapter, at some cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from torch.nn import Parameter

from .base_model import BaseModel, fork_tree
from .checkpoints import check_shapes

#: The others (PiSSA, OLoRA, CorDA, LoftQ …) take something off the base model's weights, which everyone shares.
_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal", "mica")


def peft_tree(base: BaseModel, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """PEFT's model with the adapter of a configuration and its tensors; it shares the base model's weights.

    Raises ValueError where the two do not fit each other or the base model.
    """
    # The name that the base model had where the adapter was trained means nothing here.
    fields = {field.name for field in dataclasses.fields(LoraConfig)} - {"base_model_name_or_path"}
    if config.get("init_lora_weights", True) not in _BEGINNINGS:
        raise ValueError(f"its beginning, {config['init_lora_weights']!r}, changes the base model's weights")
    try:
        lora = LoraConfig(**{name: value for name, value in config.items() if name in fields})
        model: Any = get_peft_model(fork_tree(base.model), lora)  # pyright: ignore[reportArgumentType] -- PEFT's stub wants its own alias
    except (TypeError, ValueError) as error:
        raise ValueError(f"its configuration does not fit this base model: {error}") from error
    # Only parts that PEFT has added are in training mode: dropout.
    model.eval()
    state = get_peft_model_state_dict(model)
    check_shapes({name: tuple(value.shape) for name, value in state.items()}, tensors)
    changed = {state[name].data_ptr() for name, value in tensors.items() if not _same(state[name], value)}
    _own(model, changed & {parameter.data_ptr() for parameter in base.model.parameters()})
    set_peft_model_state_dict(model, dict(tensors))
    loaded = get_peft_model_state_dict(model)
    if any(not _same(loaded[name], value) for name, value in tensors.items()):
        raise ValueError("its tensors did not arrive in the model")
    return model


def _own(model: Any, places: set[int]) -> None:
    """Gives the tree copies of the base model's parameters at `places`, tied ones still tied.

    A checkpoint may hold biases and embeddings of its own, which would otherwise be written into everyone's.
    """
    copies: dict[int, Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
            place = parameter.data_ptr()
            if place in places:
                own = copies.setdefault(place, Parameter(parameter.detach().clone(), requires_grad=False))
                module.register_parameter(name, own)


def _same(own: Tensor, given: Tensor) -> bool:
    return torch.equal(own.cpu(), given.cpu())
