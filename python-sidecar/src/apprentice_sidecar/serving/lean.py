"""A lean forward for models of the Llama and Qwen shape: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

It computes what transformers computes (tests compare the two), without its overhead for each layer. Projections that
read the same input are one matrix, and on x86 large matrices lie in a layout that is made for multiplying few rows.
Rows of several adapters and of the base model run together: an adapter's matrices meet its rows alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import attend
from .forward import Piece, Rows
from .key_values import KeyValueStore
from .linear import Linear
from .lora import LeanAdapter, LoraPair
from .spread import Spread

#: Architectures whose decoder layers are what this forward computes.
ARCHITECTURES = frozenset({"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
#: Kinds of rotary positions whose frequencies do not depend on the length of the text.
_FIXED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})

#: Numbers in the hidden states of a pass from which all threads take part in all of it; below, waking them is slower.
SHARED_FROM = 1 << 17

Attend = Callable[[int, Tensor], Tensor]
Multiply = Callable[[Linear, Tensor], Tensor]
#: Adapters of the rows: the rows (None: all of them) and the adapter.
Groups = list[tuple[Tensor | None, LeanAdapter]]


@dataclass(frozen=True)
class _Layer:
    before_attention: Tensor
    qkv: Linear
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Linear
    before_mlp: Tensor
    gate_up: Linear
    down: Linear


def fits(model: Any) -> bool:
    """Whether this forward computes the same as the model's own."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    types = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        type(model).__name__ in ARCHITECTURES
        and config.hidden_act == "silu"
        and rope.get("rope_type", "default") in _FIXED_ROPE
        and types == {"full_attention"}
    )


class LeanForward:
    """See the module. `packed`: see `Linear`."""

    borrows = True

    def __init__(self, model: Any, *, packed: bool) -> None:
        config = model.config
        self._adapters: dict[str, LeanAdapter] = {}
        self._heads = int(config.num_attention_heads)
        self._groups = self._heads // int(config.num_key_value_heads)
        self._width = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._kv_heads = int(config.num_key_value_heads)
        self._eps = float(config.rms_norm_eps)
        self._floor = self._eps * int(config.hidden_size)
        self._embedding: Tensor = model.model.embed_tokens.weight
        self._rotary = model.model.rotary_emb
        self._cos, self._sin = torch.empty(0), torch.empty(0)
        self._final_norm: Tensor = _scaled(model.model.norm.weight)
        self._head = Linear([model.lm_head], packed=packed)
        self._layers = [_layer(layer, packed) for layer in model.model.layers]
        self._known_groups: tuple[tuple[str | None, ...], Groups] = ((), [])

    def serves(self, adapter: str | None) -> bool:
        """Whether rows may name this adapter; the base model always."""
        return adapter is None or adapter in self._adapters

    def add(self, name: str, adapter: LeanAdapter) -> None:
        """Makes an adapter known."""
        self._adapters[name] = adapter

    def remove(self, name: str) -> None:
        """Frees an adapter that no row uses."""
        self._adapters.pop(name, None)
        self._known_groups = ((), [])

    def prefill(self, store: KeyValueStore, pieces: Sequence[Piece], wanted: Tensor) -> Tensor:
        """See `Forward`."""
        ids = torch.tensor([token for piece in pieces for token in piece.ids])
        positions = torch.cat([torch.arange(piece.start, piece.start + len(piece.ids)) for piece in pieces])
        rows = torch.tensor([piece.row for piece in pieces for _ in piece.ids])
        places = store.places(0, rows, positions)
        names = [piece.adapter for piece in pieces for _ in piece.ids]
        # Of the last layer only keys, values and what the wanted tokens see go on to anything.
        every = _visible(pieces, torch.arange(len(ids)), self._groups, store.mask.dtype)
        last = _visible(pieces, wanted, self._groups, store.mask.dtype)

        def attend(layer: int, qkv: Tensor) -> Tensor:
            self._write(store, layer, places, qkv)
            outputs: list[Tensor] = []
            for piece, queries, mask in last if layer == len(self._layers) - 1 else every:
                mine = qkv[queries, : self._heads * self._width]
                count = len(mine)
                mine = mine.view(count, self._kv_heads, self._groups, self._width).permute(1, 2, 0, 3)
                keys, values = store.keys_values(layer, slice(piece.row, piece.row + 1), piece.start + len(piece.ids))
                output = F.scaled_dot_product_attention(
                    mine.reshape(1, self._kv_heads, self._groups * count, self._width), keys, values, attn_mask=mask
                )
                output = output.view(self._kv_heads, self._groups, count, self._width).permute(2, 0, 1, 3)
                outputs.append(output.reshape(count, -1))
            if len(outputs) == 1:
                return outputs[0]
            return torch.cat(outputs) if outputs else qkv.new_empty(0, self._heads * self._width)

        kept = (wanted, self._grouped([names[place] for place in wanted.tolist()]))
        is_short = len(ids) * self._embedding.shape[1] < SHARED_FROM
        with Spread() if is_short else contextlib.nullcontext() as spread:
            multiply = _multiply if spread is None else spread.multiply
            hidden = self._run(ids, positions, attend, self._grouped(names), multiply, kept)
            return self._logits(hidden, multiply)

    def decode(self, store: KeyValueStore, rows: Rows, tokens: Tensor, adapters: Sequence[str | None]) -> Tensor:
        """See `Forward`."""
        numbers = torch.arange(store.mask.shape[0])[rows]
        positions = torch.tensor(store.lengths)[rows]
        places = store.places(0, numbers, positions)
        length = int(positions.max()) + 1
        mask = store.mask[rows, :length].index_put((torch.arange(len(tokens)), positions), store.mask.new_zeros(()))
        mask = mask[:, None, None]
        shape = (len(tokens), self._kv_heads, self._groups, self._width)
        runs = store.runs(len(tokens))

        def attend_layer(layer: int, qkv: Tensor) -> Tensor:
            self._write(store, layer, places, qkv)
            keys, values = store.keys_values(layer, rows, length)
            # The queries that share a head of keys take the place of a sequence: nothing is repeated.
            queries = qkv[:, : self._heads * self._width].view(shape)
            parts = [attend(queries, keys, values, mask, run, spread) for run in runs]
            return (parts[0] if len(parts) == 1 else torch.cat(parts)).reshape(len(tokens), -1)

        names = tuple(adapters)
        if names != self._known_groups[0]:
            self._known_groups = (names, self._grouped(names))
        with Spread() as spread:
            hidden = self._run(tokens, positions, attend_layer, self._known_groups[1], spread.multiply)
            return self._logits(hidden, spread.multiply)

    def _write(self, store: KeyValueStore, layer: int, places: Tensor, qkv: Tensor) -> None:
        new = qkv[:, self._heads * self._width :].reshape(-1, self._width)
        store.flat(layer).index_copy_(0, places, new)

    def _run(
        self,
        ids: Tensor,
        positions: Tensor,
        attend: Attend,
        groups: Groups,
        multiply: Multiply,
        kept: tuple[Tensor, Groups] | None = None,
    ) -> Tensor:
        """Hidden states (N × H) of N tokens before the final norm.

        With `kept` only of those tokens, which are all that the last layer's `attend` gives; with their own groups.
        """
        cos, sin = self._rotation(positions)
        x = self._embedding.index_select(0, ids)
        rotated = (self._heads + self._kv_heads) * self._width
        half, floor = self._width // 2, self._floor
        for index, layer in enumerate(self._layers):
            normed = _normed(x, layer.before_attention, floor)
            qkv = multiply(layer.qkv, normed)
            for rows, adapter in groups:
                _add(qkv, normed, rows, adapter.layers[index].qkv)
            heads = qkv[:, :rotated].unflatten(-1, (-1, self._width))
            self._norm_heads(heads, layer)
            turned = heads.roll(half, -1)
            heads.mul_(cos).addcmul_(turned, sin)
            seen = attend(index, qkv)
            if kept is not None and index == len(self._layers) - 1:
                x, groups = x.index_select(0, kept[0]), kept[1]
            out = multiply(layer.output, seen)
            for rows, adapter in groups:
                _add(out, seen, rows, adapter.layers[index].output)
            x = x.add_(out)
            normed = _normed(x, layer.before_mlp, floor)
            gate_up = multiply(layer.gate_up, normed)
            for rows, adapter in groups:
                _add(gate_up, normed, rows, adapter.layers[index].gate_up)
            gate, up = gate_up.chunk(2, -1)
            inner = F.silu(gate).mul_(up)
            out = multiply(layer.down, inner)
            for rows, adapter in groups:
                _add(out, inner, rows, adapter.layers[index].down)
            x = x.add_(out)
        return x

    def _norm_heads(self, heads: Tensor, layer: _Layer) -> None:
        if layer.query_norm is None or layer.key_norm is None:
            return
        width = (self._width,)
        for part, weight in ((heads[:, : self._heads], layer.query_norm), (heads[:, self._heads :], layer.key_norm)):
            part.copy_(F.rms_norm(part, width, weight, self._eps))

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (N × 1 × width); the first half of the sines negated, so that a roll does the rotation."""
        need = int(positions.max()) + 1
        if need > len(self._cos):
            size = max(512, 2 * need)
            cos, sin = self._rotary(self._embedding[:1], torch.arange(size)[None])
            sign = torch.ones(self._width, dtype=sin.dtype)
            sign[: self._width // 2] = -1
            self._cos, self._sin = cos[0], sin[0] * sign
        return self._cos.index_select(0, positions)[:, None], self._sin.index_select(0, positions)[:, None]

    def _logits(self, hidden: Tensor, multiply: Multiply) -> Tensor:
        return multiply(self._head, _normed(hidden, self._final_norm, self._floor)).float()

    def _grouped(self, names: Sequence[str | None]) -> Groups:
        """The adapters of the rows; rows of the base model are in no group."""
        found = [name for name in dict.fromkeys(names) if name is not None]
        if len(found) == 1 and None not in names:
            return [(None, self._adapters[found[0]])]
        return [
            (torch.tensor([row for row, one in enumerate(names) if one == name]), self._adapters[name])
            for name in found
        ]


def _multiply(linear: Linear, x: Tensor) -> Tensor:
    return linear(x)


def _add(out: Tensor, x: Tensor, rows: Tensor | None, pair: LoraPair | None) -> None:
    """Adds what an adapter adds to its rows of a projection's output."""
    if pair is None:
        return
    if rows is None:
        out.addmm_(x @ pair.down, pair.up)
    else:
        out.index_add_(0, rows, (x.index_select(0, rows) @ pair.down) @ pair.up)


def _scaled(weight: Tensor) -> Tensor:
    """A norm's weight times √width, for `_normed`."""
    return weight.detach() * weight.shape[-1] ** 0.5


def _normed(x: Tensor, scaled: Tensor, floor: float) -> Tensor:
    """RMSNorm from the vectors' lengths: x / √(|x|² + width · ε) · √width · weight; few operations on long rows."""
    if x.dtype is torch.float32:  # also what follows, without the conversions that cost as much as the work
        return (x * torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().add_(floor).rsqrt_()).mul_(scaled)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (x * length.square_().add_(floor).rsqrt_()).to(x.dtype).mul_(scaled)


def _visible(
    pieces: Sequence[Piece], places: Tensor, groups: int, dtype: torch.dtype
) -> list[tuple[Piece, slice | Tensor, Tensor]]:
    """Pieces with those of `places`, ascending and counted over all pieces, that lie in them; with what those see.

    It is an additive mask of the piece's row, repeated for the queries that share a head of keys.
    """
    found: list[tuple[Piece, slice | Tensor, Tensor]] = []
    offset = 0
    for piece in pieces:
        end = offset + len(piece.ids)
        mine = places[(places >= offset) & (places < end)]
        if len(mine):
            later = torch.arange(piece.start + len(piece.ids)) > (mine - offset + piece.start)[:, None]
            mask = torch.zeros(later.shape, dtype=dtype).masked_fill_(later, float("-inf"))
            queries = slice(offset, end) if len(mine) == end - offset else mine
            found.append((piece, queries, mask if groups == 1 else mask.repeat(groups, 1)))
        offset = end
    return found


def _layer(layer: Any, packed: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        before_attention=_scaled(layer.input_layernorm.weight),
        qkv=Linear([attention.q_proj, attention.k_proj, attention.v_proj], packed=packed),
        query_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        key_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        output=Linear([attention.o_proj], packed=packed),
        before_mlp=_scaled(layer.post_attention_layernorm.weight),
        gate_up=Linear([mlp.gate_proj, mlp.up_proj], packed=packed),
        down=Linear([mlp.down_proj], packed=packed),
    )
