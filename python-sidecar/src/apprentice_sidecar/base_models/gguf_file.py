"""A GGUF file becomes a folder in Hugging Face format, once: safetensors, tokenizer, chat template."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SidecarError
from .packages import Say
from .scratch import scratch_folder

if TYPE_CHECKING:
    from torch import Tensor

#: Names what this module makes of a file's weights: another word where it makes something else of them.
FORM = "float16-values"


def convert_gguf(file: Path, cache: Path, say: Say) -> Path:
    """The folder in `cache` for this file's bytes; written atomically where it is not there yet.

    The weights are dequantised to float32: what is trained and served are ordinary tensors. Matrices of a quantised
    file are rounded to what float16 can hold, a small part of what quantising them has changed: then they can be served
    from half of the memory, and what is served is still what is trained.
    """
    folder = cache / "models" / f"{file.stem.lower()}-{_digest(file)[:16]}-{FORM}"
    if (folder / "config.json").exists():
        return folder
    say(f"Reading {file.name} and writing it as safetensors (once, about half a minute)")
    with scratch_folder(folder.parent) as scratch:
        _write(file, scratch)
        try:
            scratch.replace(folder)
        except OSError:
            # Another process was faster: its folder holds the same.
            if not (folder / "config.json").exists():
                raise
    return folder


def _write(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where, name = str(file.parent), file.name
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(where, gguf_file=name)
        read: Any = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    except (OSError, ValueError, KeyError, NotImplementedError, struct.error) as error:
        raise SidecarError(
            "gguf_unreadable",
            f"The GGUF file {str(file)!r} cannot be read: {error}.",
            fix="Give a GGUF of an architecture that transformers reads, or the model as a Hugging Face folder.",
            param="model",
        ) from error
    end = end_of_turn(tokenizer)
    if end is not None:
        tokenizer.eos_token = end
    # transformers refuses to save a model that it has read from a GGUF: its tensors move into a fresh one.
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.eos_token_id = tokenizer.eos_token_id
    with torch.device("meta"):
        fresh: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    weights = {key: value.float() for key, value in read.state_dict().items()}
    if _is_quantised(file):
        weights = {key: _in_float16(value) for key, value in weights.items()}
    loaded = fresh.load_state_dict(weights, strict=False, assign=True)
    fresh.tie_weights()
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set[str]()
    missing = sorted({*loaded.missing_keys, *loaded.unexpected_keys} - tied)
    if missing:
        raise SidecarError(
            "gguf_unreadable",
            f"The GGUF file {str(file)!r} and its architecture differ in their weights: {', '.join(missing[:3])}.",
            fix="Give the model as a Hugging Face folder.",
            param="model",
        )
    fresh.generation_config = read.generation_config
    fresh.generation_config.eos_token_id = tokenizer.eos_token_id
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _is_quantised(file: Path) -> bool:
    """Whether all matrices have been through fewer bits than float16 has."""
    import gguf

    plain = {gguf.GGMLQuantizationType[name] for name in ("F64", "F32", "F16", "BF16")}
    return all(one.tensor_type not in plain for one in gguf.GGUFReader(file).tensors if len(one.shape) > 1)


def _in_float16(weight: Tensor) -> Tensor:
    """A matrix rounded to numbers of float16, where none of them is too large; others stay."""
    halves = weight.half().float()
    return halves if weight.dim() > 1 and bool(halves.isfinite().all()) else weight


def end_of_turn(tokenizer: Any) -> str | None:
    """The special token that the chat template writes after an answer; None where there is none.

    Metadata of GGUF files often name another token as the end of a sequence, and the model would never stop.
    """
    if not tokenizer.chat_template:
        return None
    mark = "apprentice"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False)
    rest = text[text.rindex(mark) + len(mark) :].lstrip()
    special: list[str] = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return max((token for token in special if rest.startswith(token)), key=len, default=None)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
