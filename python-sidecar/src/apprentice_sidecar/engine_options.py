"""The part of the command line that says what is loaded, and the loading. Imports torch only when it loads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SidecarError

if TYPE_CHECKING:
    from .base_model import BaseModel
    from .base_models.packages import Say
    from .training.contract import TrainingEngine


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Base model, precision, device and training engine."""
    parser.add_argument("--model", required=True, help="folder, hub id, .gguf file or package:NAME")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "apprentice",
                        help="folder for models that are fetched or converted")  # fmt: skip
    parser.add_argument("--threads", type=int, default=None, help="OpenMP threads for torch")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu", help="where the base model lies: cpu, cuda, cuda:1")
    parser.add_argument("--training", choices=["transformers", "torchtune", "unsloth"], default="transformers")
    parser.add_argument("--quantization", choices=["none", "4bit"], default="none", help="weights to train on")
    parser.add_argument("--context-length", type=int, default=None, help="tokens, where less than the model's own")
    parser.add_argument("--chat-template-kwargs", type=_json_object, default={}, help="JSON, for every prompt")


def load_engines(options: argparse.Namespace, say: Say, *, name: str | None = None) -> tuple[BaseModel, TrainingEngine]:
    """The base model, called `name` or as the options say, and what trains it; `say` hears what takes time.

    Raises SidecarError where they do not fit each other or this machine.
    """
    from .training.engines import training_engine

    if options.quantization == "4bit" and options.training != "unsloth":
        raise SidecarError(
            "quantization_unsupported",
            f"{options.training} does not train on 4-bit weights.",
            fix="Use --training unsloth, or leave --quantization out.",
            param="quantization",
        )
    # Some engines change transformers when they are imported, which must come before a model is made of it.
    training = training_engine(options.training, load_in_4bit=options.quantization == "4bit")
    from .base_model import load_base
    from .base_models.resolve import resolve_base

    base = load_base(
        resolve_base(options.model, options.cache, say),
        name=name or options.model,
        dtype=options.dtype,
        threads=options.threads,
        device=options.device,
        context_length=options.context_length,
        chat_template_kwargs=options.chat_template_kwargs,
    )
    training.check(base)
    return base, training


def _json_object(text: str) -> dict[str, Any]:
    value: Any = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType] -- from JSON
