"""The training engines by name. An engine's own packages are imported when it is chosen."""

from __future__ import annotations

from ..base_model import BaseModel
from ..errors import SidecarError
from .contract import TrainingEngine


def training_engine(name: str, *, load_in_4bit: bool = False) -> TrainingEngine:
    """The engine of this name. Raises SidecarError where its packages or devices are not there.

    `load_in_4bit` is for Unsloth alone.
    """
    try:
        match name:
            case "transformers":
                from .transformers import build_policy

                return TrainingEngine(name, _takes_every_model, build_policy)
            case "torchtune":
                from .torchtune import policy as torchtune

                return TrainingEngine(name, torchtune.check, torchtune.build_policy)
            case "unsloth":
                from .unsloth.engine import unsloth_engine

                return unsloth_engine(load_in_4bit=load_in_4bit)
            case _:
                raise SidecarError(
                    "training_engine_unknown",
                    f"There is no training engine {name!r}.",
                    fix="Choose transformers, torchtune or unsloth.",
                    param="training",
                )
    except ImportError as error:
        raise SidecarError(
            "training_engine_missing",
            f"The training engine {name} cannot be imported: {error}.",
            fix=f"Start the sidecar with an environment made from requirements/{REQUIREMENTS[name]}.",
            param="training",
        ) from error


#: The pinned set that holds an engine's packages.
REQUIREMENTS = {"transformers": "cpu.txt", "torchtune": "torchtune.txt", "unsloth": "cuda-train.txt"}


def _takes_every_model(base: BaseModel) -> None:
    """transformers trains whatever it could load."""
