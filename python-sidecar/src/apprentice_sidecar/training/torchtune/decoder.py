"""Builds torchtune's decoder around the very tensors of a transformers model. Needs torchtune."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchtune.models.qwen2 import Qwen2RotaryPositionalEmbeddings
from torchtune.modules import (
    FeedForward,
    MultiHeadAttention,
    RMSNorm,
    TransformerDecoder,
    TransformerSelfAttentionLayer,
)
from torchtune.modules.peft import LoRALinear, get_adapter_params, set_trainable_params

from ...base_model import BaseModel
from ...protocol import Lora
from .names import base_name, lora_targets
from .shape import DecoderShape

#: The table of rotary angles grows by this many positions at a time.
ROTARY_BLOCK = 2048


def build_decoder(base: BaseModel, shape: DecoderShape, lora: Lora) -> Any:
    """A decoder that gives hidden states, with a fresh adapter in float32; base weights are shared, not copied."""
    model: Any = base.model
    rotary = Rotary(model.model.rotary_emb)
    with torch.device("meta"):
        decoder = _skeleton(shape, lora, rotary)
    weights: dict[str, Tensor] = {}
    for name, value in model.named_parameters():
        theirs = base_name(name, head_norms=shape.head_norms)
        if theirs is not None:
            weights[theirs] = value
    torch.manual_seed(lora.seed)
    for module in decoder.modules():
        if isinstance(module, LoRALinear):
            for matrix in (module.lora_a, module.lora_b):
                matrix.weight = nn.Parameter(torch.empty(matrix.weight.shape, device=base.device))
            module.initialize_parameters()
    adapter = get_adapter_params(decoder)
    result = decoder.load_state_dict(weights, strict=False, assign=True)
    missing = [name for name in result.missing_keys if name not in adapter]
    if missing or result.unexpected_keys:
        raise RuntimeError(f"base weights do not fit the decoder: {missing[:3]} {result.unexpected_keys[:3]}")
    set_trainable_params(decoder, set(adapter))
    return decoder.eval()


class Rotary(Qwen2RotaryPositionalEmbeddings):
    """Rotary embeddings with the frequencies of transformers' own, whatever scaling they have."""

    def __init__(self, of: Any) -> None:
        frequencies = of.inv_freq.detach().float()
        super().__init__(dim=2 * len(frequencies), max_seq_len=1)
        self._scaling = float(of.attention_scaling)
        self.register_buffer("theta", frequencies.clone(), persistent=False)
        self.reserve(ROTARY_BLOCK)

    def reserve(self, positions: int) -> None:
        """Makes sure that there are angles for positions below `positions`."""
        if positions <= len(self.get_buffer("cache")):
            return
        self.build_rope_cache(-(-positions // ROTARY_BLOCK) * ROTARY_BLOCK)
        self.get_buffer("cache").mul_(self._scaling)


class AdaptedLinear(LoRALinear):
    """A LoRA layer whose adapter stays in float32 on base weights of less: AdamW's small steps vanish in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        weight: Any = self.weight
        bias: Any = self.bias
        out = functional.linear(x, weight, bias)
        if self.disabled:
            return out
        low = self.lora_a(x.to(self.lora_a.weight.dtype))
        return (out + (self.alpha / self.rank) * self.lora_b(low)).to(out.dtype)


class NormedProjection(nn.Module):
    """A projection whose heads are then normalised. Qwen3 does so before rotation, torchtune's attention after it."""

    def __init__(self, linear: nn.Module, norm: nn.Module, head_width: int) -> None:
        super().__init__()
        self.linear = linear
        self.norm = norm
        self._head_width = head_width

    def forward(self, x: Tensor) -> Tensor:
        heads = self.linear(x).unflatten(-1, (-1, self._head_width))
        return self.norm(heads).flatten(-2)


def _skeleton(shape: DecoderShape, lora: Lora, rotary: Rotary) -> TransformerDecoder:
    targets = lora_targets(lora.target_modules)

    def linear(name: str, width: int, height: int, bias: bool) -> nn.Module:
        if name in targets:
            return AdaptedLinear(width, height, rank=lora.rank, alpha=lora.alpha, use_bias=bias)
        return nn.Linear(width, height, bias=bias)

    def projection(name: str, heads: int) -> nn.Module:
        made = linear(name, shape.width, heads * shape.head_width, shape.query_bias)
        if not shape.head_norms:
            return made
        return NormedProjection(made, RMSNorm(shape.head_width, eps=shape.norm_epsilon), shape.head_width)

    def layer() -> nn.Module:
        attention = MultiHeadAttention(
            embed_dim=shape.width,
            num_heads=shape.heads,
            num_kv_heads=shape.key_value_heads,
            head_dim=shape.head_width,
            q_proj=projection("attn.q_proj", shape.heads),
            k_proj=projection("attn.k_proj", shape.key_value_heads),
            v_proj=linear("attn.v_proj", shape.width, shape.key_value_heads * shape.head_width, shape.query_bias),
            output_proj=linear("attn.output_proj", shape.heads * shape.head_width, shape.width, shape.output_bias),
            pos_embeddings=rotary,
        )
        mlp = FeedForward(
            gate_proj=linear("mlp.w1", shape.width, shape.intermediate, shape.mlp_bias),
            down_proj=linear("mlp.w2", shape.intermediate, shape.width, shape.mlp_bias),
            up_proj=linear("mlp.w3", shape.width, shape.intermediate, shape.mlp_bias),
        )
        return TransformerSelfAttentionLayer(
            attn=attention,
            mlp=mlp,
            sa_norm=RMSNorm(shape.width, eps=shape.norm_epsilon),
            mlp_norm=RMSNorm(shape.width, eps=shape.norm_epsilon),
        )

    return TransformerDecoder(
        tok_embeddings=nn.Embedding(shape.vocabulary, shape.width),
        layers=[layer() for _ in range(shape.layers)],
        # Only checked against the length of a pack, which may hold several rows of the model's length.
        max_seq_len=sys.maxsize,
        num_heads=shape.heads,
        head_dim=shape.head_width,
        norm=RMSNorm(shape.width, eps=shape.norm_epsilon),
        output=nn.Identity(),
    )
