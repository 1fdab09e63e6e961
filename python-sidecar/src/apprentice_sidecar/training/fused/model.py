"""The decoder layers of a causal model, from embedding to the final norm, over a pack."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...packing import Pack
from .adapter import PROJECTIONS, Adapter
from .attention import plan_all, plan_sources
from .layer import Layer, Norm, Positions, Projection

#: Architectures whose decoder layer is that of `layer.py`.
MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
#: Rotary embeddings whose frequencies do not depend on the length of the sequence.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")


def is_supported(causal: Any) -> bool:
    """Whether `FusedModel` computes what this model computes: its architecture, in float32 on a CPU."""
    config = causal.config
    if config.model_type not in MODEL_TYPES:
        return False
    rope = getattr(config, "rope_parameters", None) or {}
    layer_types = getattr(config, "layer_types", None) or ["full_attention"]
    return (
        config.hidden_act == "silu"
        and rope.get("rope_type", "default") in ROPE_TYPES
        and rope.get("partial_rotary_factor", 1.0) == 1.0
        and set(layer_types) == {"full_attention"}
        and (config.model_type != "mistral" or config.sliding_window is None)
        and causal.lm_head.bias is None
        and causal.dtype == torch.float32
        and causal.device.type == "cpu"
    )


class FusedModel:
    """Runs the layers of a causal model with an adapter or, with None, without."""

    def __init__(self, causal: Any, adapter: Adapter | None) -> None:
        self._model = causal.model
        self._layers = [_layer(causal, index, adapter) for index in range(len(causal.model.layers))]
        self._norm = _norm(causal.model.norm)

    def hidden(self, pack: Pack) -> Tensor:
        """Final hidden states, after the norm, of the pack's sources (T × H)."""
        model = self._model
        x = torch.nn.functional.embedding(torch.tensor(pack.token_ids), model.embed_tokens.weight)
        cosines, sines = model.rotary_emb(x[None], torch.tensor([pack.depths]))
        sines[..., : sines.shape[-1] // 2].neg_()
        positions = Positions(cosines[0], sines[0])
        every, last = plan_all(pack), plan_sources(pack)
        for layer in self._layers[:-1]:
            x = layer.run(x, positions, every)
        x = self._layers[-1].run(x, positions, last)
        assert last.rows is not None
        x = x[torch.searchsorted(last.rows, torch.tensor(pack.sources))]
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self._norm.weight, self._norm.epsilon)


def _layer(causal: Any, index: int, adapter: Adapter | None) -> Layer:
    module = causal.model.layers[index]
    query, key, value, output, gate, up, down = (
        _projection(module.get_submodule(name), f"model.layers.{index}.{name}", adapter) for name in PROJECTIONS
    )
    attention = module.self_attn
    return Layer(
        query=query,
        key=key,
        value=value,
        output=output,
        gate=gate,
        up=up,
        down=down,
        attention_norm=_norm(module.input_layernorm),
        feed_forward_norm=_norm(module.post_attention_layernorm),
        query_norm=_norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=_norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
        head_size=attention.head_dim,
        attention_scale=attention.scaling,
    )


def _projection(module: Any, name: str, adapter: Adapter | None) -> Projection:
    if adapter is None:
        return Projection(module.weight, module.bias, None, None, 0.0)
    return Projection(module.weight, module.bias, *adapter.of(name), adapter.scaling)


def _norm(module: Any) -> Norm:
    return Norm(module.weight, float(module.variance_epsilon))
