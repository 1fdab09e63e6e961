"""The part of the command line that says what is loaded, and the loading. Imports torch only when it loads."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engines import Engines
from .errors import SidecarError

if TYPE_CHECKING:
    from .base_model import BaseModel
    from .serving.contract import ServingEngine

#: Hears of a stage of the start, and what happens in it.
Tell = Callable[[str, str], None]


#: Options that only vLLM can honour.
VLLM_OPTIONS = {
    "serving-python": "interpreter of the environment that holds vLLM (needed)",
    "serving-gpus": "numbers of the GPUs that vLLM has to itself, such as 0,1; default: it shares that of --device",
    "tool-call-parser": "how this family writes tool calls, or none; default: hermes",
    "reasoning-parser": "how this family writes its reasoning; default: it stays text",
    "serving-state": "folder for vLLM's log and the note of its process; default: a temporary one",
}


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Base model, precision, device, training engine and serving engine."""
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
    parser.add_argument("--serving", choices=["transformers", "vllm"], default="transformers", help="what answers")
    for name, what in VLLM_OPTIONS.items():
        parser.add_argument(f"--{name}", default=None, help=f"with --serving vllm: {what}")


def load_engines(options: argparse.Namespace, tell: Tell, *, name: str | None = None) -> Engines:
    """The base model, called `name` or as the options say, what trains it and what serves it.

    `tell` hears of what takes time. Raises SidecarError where they do not fit each other or this machine.
    """
    from .training.engines import training_engine

    _check_serving(options)
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

    model = resolve_base(options.model, options.cache, lambda text: tell("model", text))
    base = load_base(
        model,
        name=name or options.model,
        dtype=options.dtype,
        threads=options.threads,
        device=options.device,
        context_length=options.context_length,
        chat_template_kwargs=options.chat_template_kwargs,
    )
    training.check(base)
    return Engines(base, training, _serving(options, base, model, tell))


def _check_serving(options: argparse.Namespace) -> None:
    if options.serving == "transformers":
        given = next((name for name in VLLM_OPTIONS if getattr(options, name.replace("-", "_")) is not None), None)
        if given is not None:
            raise SidecarError(
                "serving_option_unused",
                f"--{given} is for --serving vllm only.",
                fix=f"Add --serving vllm, or leave --{given} out.",
                param=given,
            )
    elif options.serving_python is None:
        raise SidecarError(
            "serving_python_missing",
            "--serving vllm needs the environment that holds vLLM.",
            fix="Give its interpreter with --serving-python.",
            param="serving-python",
        )
    else:
        _check_gpus(options)


def _check_gpus(options: argparse.Namespace) -> None:
    """`--serving-gpus` as numbers, each once, none of them the trainer's."""
    if options.serving_gpus is None:
        return
    numbers = options.serving_gpus.split(",")
    device, _, own = options.device.partition(":")
    expected = None
    if device != "cuda":
        expected = f"left out with --device {options.device}"
    elif not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        expected = "numbers, each once, such as 0,1"
    elif (own or "0") in numbers:
        expected = f"without GPU {own or '0'}, on which --device trains"
    if expected is not None:
        raise SidecarError(
            "serving_gpus_invalid",
            f"--serving-gpus must be {expected}, but it is {options.serving_gpus!r}.",
            fix="Give each side GPUs of its own, or leave it out: vLLM then sleeps while a step is trained.",
            param="serving-gpus",
        )


def _serving(options: argparse.Namespace, base: BaseModel, model: str, tell: Tell) -> ServingEngine:
    if options.serving == "transformers":
        from .serving.transformers import TransformersServing

        return TransformersServing(base)
    from .serving.vllm.engine import VllmServing
    from .serving.vllm.launch import VllmSettings
    from .threads import available_threads

    device, _, number = options.device.partition(":")
    own = options.serving_gpus is not None
    parser = options.tool_call_parser or "hermes"
    settings = VllmSettings(
        python=options.serving_python,
        model=model,
        port=0,
        api_key="",
        device="cpu" if device == "cpu" else "cuda",
        gpus=tuple(int(one) for one in (options.serving_gpus if own else number or "0").split(",")),
        shares_gpu=not own,
        gpu_memory=_free_share(base) if device == "cuda" and not own else None,
        dtype=options.dtype,
        context_length=base.context_length,
        tool_call_parser=None if parser == "none" else parser,
        reasoning_parser=options.reasoning_parser,
        threads=options.threads or available_threads(),
    )
    state = Path(options.serving_state or tempfile.mkdtemp(prefix="apprentice-vllm-"))
    return VllmServing(base, settings, state, say=lambda text: tell("serving", text))


def _free_share(base: BaseModel) -> float:
    """The part of the GPU's memory that the trainer's base model leaves, less a twentieth for what a step needs."""
    import torch

    free, total = torch.cuda.mem_get_info(base.device)
    return max(0.05, int(100 * (free / total - 0.05)) / 100)


def _json_object(text: str) -> dict[str, Any]:
    value: Any = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value  # pyright: ignore[reportUnknownVariableType] -- from JSON
