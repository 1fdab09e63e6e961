"""Translates module and tensor names between PEFT (on transformers' models) and torchtune. Pure.

Only names differ: our rotary embeddings turn halves of a head, as transformers does, so that no weight is permuted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import SidecarError

#: The linear layers of one decoder layer: transformers' name → torchtune's, in transformers' order.
LINEAR = {
    "self_attn.q_proj": "attn.q_proj",
    "self_attn.k_proj": "attn.k_proj",
    "self_attn.v_proj": "attn.v_proj",
    "self_attn.o_proj": "attn.output_proj",
    "mlp.gate_proj": "mlp.w1",
    "mlp.up_proj": "mlp.w3",
    "mlp.down_proj": "mlp.w2",
}
_NORMS = {"input_layernorm": "sa_norm", "post_attention_layernorm": "mlp_norm"}
_HEAD_NORMS = {"self_attn.q_norm": "attn.q_proj.norm", "self_attn.k_norm": "attn.k_proj.norm"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_ADAPTER = re.compile(r"layers\.(\d+)\.(.+?)(?:\.linear)?\.lora_([ab])\.weight")


def base_name(transformers_name: str, *, head_norms: bool) -> str | None:
    """torchtune's name of a base weight; None for the head, which stays transformers' own.

    With `head_norms` queries and keys are projected by `linear` and then normalised by `norm`.
    """
    if transformers_name == "model.embed_tokens.weight":
        return "tok_embeddings.weight"
    if transformers_name == "model.norm.weight":
        return "norm.scale"
    match = _LAYER.fullmatch(transformers_name)
    if match is None:
        return None
    layer, module, kind = match.groups()
    if module in _NORMS:
        return f"layers.{layer}.{_NORMS[module]}.scale"
    if module in _HEAD_NORMS:
        return f"layers.{layer}.{_HEAD_NORMS[module]}.scale"
    if module not in LINEAR:
        return None
    inner = ".linear" if head_norms and module in ("self_attn.q_proj", "self_attn.k_proj") else ""
    return f"layers.{layer}.{LINEAR[module]}{inner}.{kind}"


def adapter_name(torchtune_name: str) -> str:
    """PEFT's name of an adapter tensor, as `adapter_model.safetensors` holds it."""
    match = _ADAPTER.fullmatch(torchtune_name)
    if match is None:
        raise ValueError(f"{torchtune_name} is no adapter tensor of torchtune")
    layer, module, matrix = match.groups()
    back = {theirs: ours for ours, theirs in LINEAR.items()}
    return f"base_model.model.model.layers.{layer}.{back[module]}.lora_{matrix.upper()}.weight"


def lora_targets(target_modules: Sequence[str] | None) -> frozenset[str]:
    """Which of torchtune's linear layers get an adapter; None means all. Raises SidecarError 422."""
    if target_modules is None:
        return frozenset(LINEAR.values())
    known = {name.split(".")[-1]: theirs for name, theirs in LINEAR.items()}
    unknown = sorted(set(target_modules) - set(known))
    if unknown:
        raise SidecarError(
            "training_engine_unsuited",
            f"The training engine torchtune puts no adapter on {', '.join(unknown)}.",
            fix=f"Choose lora.target_modules from {', '.join(known)}, or use training: 'transformers'.",
            http_status=422,
            param="adapter.lora.target_modules",
        )
    return frozenset(known[name] for name in target_modules)
