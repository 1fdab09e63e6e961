"""What a sidecar works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base_model import BaseModel
    from .serving.contract import ServingEngine
    from .training.contract import TrainingEngine


@dataclass(frozen=True)
class Engines:
    """The base model, what trains it and what serves it. `serving` is made, and still to be started."""

    base: BaseModel
    training: TrainingEngine
    serving: ServingEngine
