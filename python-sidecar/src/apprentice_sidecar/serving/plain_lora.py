"""Tells plain LoRA from everything else that an adapter's configuration may ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from peft import LoraConfig

#: What `plain_lora` reads itself.
_READ = frozenset({"peft_type", "r", "lora_alpha", "use_rslora", "target_modules"})
#: What changes nothing of what a trained adapter computes: notes, and how training went.
_NOTES = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "lora_dropout",
        "peft_version",
        "revision",
        "task_type",
    }
)
#: Beginnings that leave the base model's weights as they are; the checkpoint's tensors take their place.
_BEGINNINGS = (True, False, "gaussian")


@dataclass(frozen=True)
class PlainLora:
    """LoRA of one rank and one scaling on the modules whose names end in one of `endings`."""

    rank: int
    scaling: float
    endings: frozenset[str]

    def targets(self, module: str) -> bool:
        """Whether the module of this name has an adapter: whole parts of the name must match, as for PEFT."""
        return module in self.endings or any(module.endswith(f".{ending}") for ending in self.endings)


def plain_lora(config: Mapping[str, Any]) -> PlainLora | None:
    """What an `adapter_config.json` asks for, or None where that is more than plain LoRA, or not known to be less.

    Whatever is not named here must have PEFT's default: later versions of PEFT add fields that change the outcome.
    """
    if config.get("peft_type") != "LORA" or not all(_means_nothing(*field) for field in config.items()):
        return None
    rank, alpha, endings = config.get("r"), config.get("lora_alpha"), config.get("target_modules")
    stable = config.get("use_rslora", False)
    # A bool is an int as well, and none of PEFT's.
    if type(rank) is not int or rank < 1 or not isinstance(stable, bool):
        return None
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool):
        return None
    if not isinstance(endings, list) or not all(isinstance(ending, str) for ending in endings):
        return None
    return PlainLora(rank, alpha / (math.sqrt(rank) if stable else rank), frozenset(endings))


def _means_nothing(name: str, value: Any) -> bool:
    if name in _READ or name in _NOTES:
        return True
    if name == "init_lora_weights":
        return value in _BEGINNINGS
    defaults = _defaults()
    return value == defaults[name] if name in defaults else not value


@cache
def _defaults() -> dict[str, Any]:
    return LoraConfig().to_dict()
