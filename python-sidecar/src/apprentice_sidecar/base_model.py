"""Loads a base model, says what it is, and grows module trees that share its weights."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .errors import SidecarError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class BaseModel:
    """A frozen causal language model with its tokenizer and digests of what they are made of."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str
    tokenizer_digest: str
    chat_template_digest: str
    context_length: int
    dtype: str
    #: Given to the chat template with every prompt; what a request gives goes first.
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=lambda: {})

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    @property
    def masks_isolate(self) -> bool:
        """Whether a mask keeps the rows of one sequence apart: not in layers that slide or carry a state along."""
        config: Any = self.model.config.get_text_config()
        kinds = getattr(config, "layer_types", None)
        if kinds is not None:
            return all(kind == "full_attention" for kind in kinds)
        return getattr(config, "sliding_window", None) is None


def load_base(
    model: str,
    *,
    name: str | None = None,
    dtype: str = "float32",
    threads: int | None = None,
    device: str = "cpu",
    context_length: int | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> BaseModel:
    """Loads `model`, a folder or hub id, from safetensors only; no code that comes with a model is run.

    `name`: what the user calls it, by default `model`. `threads`: OpenMP threads for torch; None leaves torch's choice.
    `device`: in torch's words. `context_length`: tokens of prompt and answer together; the model's own limit where that
    is lower.
    """
    check_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model, dtype=DTYPES[dtype], use_safetensors=True, trust_remote_code=False, attn_implementation="sdpa"
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SidecarError(
            "base_model_unloadable",
            f"The base model {model!r} cannot be loaded: {error}.",
            fix="Give a folder or hub id of a causal language model in Hugging Face format with safetensors weights.",
            param="model",
        ) from error
    if not tokenizer.chat_template:
        raise SidecarError(
            "no_chat_template",
            f"The tokenizer of {model!r} has no chat template.",
            fix="Use an instruction-tuned model, or put a chat_template.jinja beside its tokenizer.",
            param="model",
        )
    loaded.eval()
    loaded.requires_grad_(False)
    # Before the weights go to a device: a digest says what they are, not where.
    digest = _weights_digest(loaded)
    return BaseModel(
        name=name or model,
        model=loaded.to(device),
        tokenizer=tokenizer,
        digest=digest,
        tokenizer_digest=_digest(tokenizer.backend_tokenizer.to_str()),
        chat_template_digest=_template_digest(tokenizer.chat_template, chat_template_kwargs or {}),
        context_length=min(_context_length(loaded), context_length or sys.maxsize),
        dtype=dtype,
        chat_template_kwargs=chat_template_kwargs or {},
    )


def check_device(device: str) -> None:
    """Raises SidecarError where torch cannot use the device on this machine."""
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise SidecarError(
            "device_unknown", f"torch knows no device {device!r}.", fix="Give cpu, cuda or cuda:1.", param="device"
        ) from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise SidecarError(
            "no_cuda",
            f"The device {device!r} was asked for, and torch {torch.__version__} sees no CUDA device.",
            fix="Use the device cpu, or install a driver and a CUDA build of torch in this environment.",
            param="device",
        )


def fork_tree(model: PreTrainedModel) -> PreTrainedModel:
    """A second module tree whose parameters are the very tensors of `model`.

    LoRA modules put into one tree are not in the other; tied embeddings stay tied; no memory is copied.
    """
    memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    memo.update({id(buffer): buffer for buffer in model.buffers()})
    return copy.deepcopy(model, memo)


def _context_length(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", None) or 2048)


def _weights_digest(model: PreTrainedModel) -> str:
    """SHA-256 over names, shapes and bytes of all parameters: the same for a folder and its copy elsewhere."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name}:{tuple(parameter.shape)}:{parameter.dtype}".encode())
        digest.update(parameter.detach().contiguous().view(torch.uint8).numpy().reshape(-1).data)
    return f"sha256:{digest.hexdigest()}"


def _template_digest(template: Any, kwargs: Mapping[str, Any]) -> str:
    """Of all that decides how messages become a prompt."""
    return _digest(json.dumps([template, dict(kwargs)] if kwargs else template, sort_keys=True))


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
