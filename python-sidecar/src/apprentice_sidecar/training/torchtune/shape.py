"""Reads a decoder's shape off a transformers configuration; refuses what torchtune's modules cannot be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import SidecarError

#: Rotary embeddings whose frequencies do not depend on the length of the sequence.
ROTARY = ("default", "linear", "llama3", "yarn")
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True)
class DecoderShape:
    """What a decoder of the Llama kind is made of. Sizes are in elements."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_width: int
    intermediate: int
    norm_epsilon: float
    query_bias: bool
    output_bias: bool
    mlp_bias: bool
    #: Qwen3 normalises each head of queries and keys
    head_norms: bool


def decoder_shape(config: Mapping[str, Any]) -> DecoderShape:
    """The shape that a transformers configuration (as a dictionary) describes. Raises SidecarError 422."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise _refused(f"the model type {family!r}; it has {', '.join(FAMILIES)}")
    if config.get("hidden_act") != "silu":
        raise _refused(f"the activation {config.get('hidden_act')!r}; it has silu")
    rotary = _rotary_type(config)
    if rotary not in ROTARY:
        raise _refused(f"rotary embeddings of type {rotary!r}; it has {', '.join(ROTARY)}")
    if _slides(config, family):
        raise _refused("a sliding attention window")
    heads = int(config["num_attention_heads"])
    width = int(config["hidden_size"])
    if width % heads != 0:
        raise _refused(f"a width of {width} with {heads} heads: the heads must divide it")
    bias = bool(config.get("attention_bias", False))
    return DecoderShape(
        vocabulary=int(config["vocab_size"]),
        layers=int(config["num_hidden_layers"]),
        width=width,
        heads=heads,
        key_value_heads=int(config.get("num_key_value_heads") or heads),
        head_width=int(config.get("head_dim") or width // heads),
        intermediate=int(config["intermediate_size"]),
        norm_epsilon=float(config["rms_norm_eps"]),
        query_bias=bias or family == "qwen2",
        output_bias=bias and family != "qwen2",
        mlp_bias=bool(config.get("mlp_bias", False)),
        head_norms=family == "qwen3",
    )


def _rotary_type(config: Mapping[str, Any]) -> str:
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return str(parameters.get("rope_type", parameters.get("type", "default")))


def _slides(config: Mapping[str, Any], family: str) -> bool:
    if family == "mistral":
        return config.get("sliding_window") is not None
    return bool(config.get("use_sliding_window", False))


def _refused(what: str) -> SidecarError:
    return SidecarError(
        "training_engine_unsuited",
        f"The training engine torchtune cannot be built for this base model: it has no {what}.",
        fix="Use training: 'transformers', which takes every causal language model.",
        http_status=422,
        param="training",
    )
