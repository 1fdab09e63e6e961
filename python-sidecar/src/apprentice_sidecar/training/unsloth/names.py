"""Brings what Unsloth names its adapters' tensors to what PEFT names them on the served model. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

_TENSOR = re.compile(r"(?:base_model\.model\.)?(.+)\.(lora_[AB])(?:\.default)?\.weight")


def served_name(name: str, modules: Collection[str]) -> str:
    """`base_model.model.<module>.lora_A.weight` for an Unsloth name of a tensor or parameter.

    `modules`: the served model's module names. Unsloth wraps text models of multimodal families, whose module names
    then have `language_model` in them. Raises ValueError where no served module fits.
    """
    match = _TENSOR.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no adapter tensor")
    module, matrix = match.groups()
    for candidate in (
        module,
        module.replace("language_model.", "", 1),
        module.replace("model.language_model.", "model.", 1),
        module.replace("model.", "model.language_model.", 1),
    ):
        if candidate in modules:
            return f"base_model.model.{candidate}.{matrix}.weight"
    raise ValueError(f"{name} belongs to no module of the served model")


def target_modules(names: Iterable[str]) -> list[str]:
    """The explicit list for `adapter_config.json`; Unsloth writes a regular expression, which vLLM does not read."""
    found: set[str] = set()
    for name in names:
        match = _TENSOR.fullmatch(name)
        if match is not None:
            found.add(match.group(1).split(".")[-1])
    return sorted(found)
