"""What runs a model on the store of keys and values: the contract, and transformers' own forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Cache, DynamicCache

from ..errors import SidecarError
from .key_values import KeyValueStore, LayerShape

#: Rows of the store: the first ones, or picked ones.
Rows = slice | Tensor


@dataclass(frozen=True)
class Piece:
    """Tokens that follow the first `start` tokens of a row, which are in the store."""

    row: int
    start: int
    ids: list[int]
    adapter: str | None


class Forward(Protocol):
    """Writes the keys and values of new tokens and gives logits; the caller has made room and commits afterwards."""

    #: whether `decode` finds a row's first tokens where the row has borrowed them, if its rows are the first ones
    borrows: bool

    def prefill(self, store: KeyValueStore, pieces: Sequence[Piece], wanted: Tensor) -> Tensor:
        """Runs pieces of different rows; logits (W × V, float32) of the tokens at `wanted`, counted over all pieces."""
        ...

    def decode(self, store: KeyValueStore, rows: Rows, tokens: Tensor, adapters: Sequence[str | None]) -> Tensor:
        """Runs one token for each row, at the row's end; logits (B × V, float32)."""
        ...


class TransformersForward:
    """The model's own code, with PEFT's adapters, one adapter at a time. `run(adapter, **inputs)` is the model."""

    borrows = False

    def __init__(self, run: Callable[..., Any], config: Any) -> None:
        self._run = run
        self._window = _sliding_window(config)
        self._layer_types: list[str] = list(getattr(config, "layer_types", None) or [])

    def prefill(self, store: KeyValueStore, pieces: Sequence[Piece], wanted: Tensor) -> Tensor:
        """See `Forward`."""
        logits: list[Tensor] = []
        offset = 0
        for piece in pieces:
            count = len(piece.ids)
            here = wanted[(wanted >= offset) & (wanted < offset + count)] - offset
            offset += count
            length = piece.start + count
            positions = torch.arange(piece.start, length)[None]
            output = self._run(
                piece.adapter,
                input_ids=torch.tensor([piece.ids]),
                position_ids=positions,
                attention_mask=self._masks(positions, store.mask[:1, :length].new_zeros(1, length)),
                past_key_values=_StoreCache(store, slice(piece.row, piece.row + 1), positions, length),
                use_cache=True,
                logits_to_keep=here,
            )
            logits.append(output.logits[0].float())
        return torch.cat(logits)

    def decode(self, store: KeyValueStore, rows: Rows, tokens: Tensor, adapters: Sequence[str | None]) -> Tensor:
        """See `Forward`."""
        numbers = torch.arange(store.mask.shape[0])[rows]
        positions = torch.tensor([store.lengths[row] for row in numbers.tolist()])[:, None]
        parts: list[tuple[Tensor, Tensor]] = []
        for adapter in dict.fromkeys(adapters):
            mine = torch.tensor([place for place, one in enumerate(adapters) if one == adapter])
            here = positions[mine]
            length = int(here.max()) + 1
            output: Any = self._run(
                adapter,
                input_ids=tokens[mine][:, None],
                position_ids=here,
                attention_mask=self._masks(here, store.mask[numbers[mine], :length]),
                past_key_values=_StoreCache(store, numbers[mine], here, length),
                use_cache=True,
            ).logits[:, -1].float()  # fmt: skip
            parts.append((mine, output))
        logits = parts[0][1].new_empty(len(adapters), parts[0][1].shape[-1])
        for mine, part in parts:
            logits[mine] = part
        return logits

    def _masks(self, positions: Tensor, used: Tensor) -> Any:
        """Additive masks (B × 1 × Q × C): `positions` (B × Q) of the queries, `used` (B × C) of the columns before."""
        columns = torch.arange(used.shape[-1])
        causal = columns[None, None] <= positions[..., None]
        full = torch.zeros(causal.shape, dtype=used.dtype).masked_fill(~causal, float("-inf"))[:, None]
        if self._window is None:
            return full
        near = columns[None, None] > positions[..., None] - self._window
        sliding = full.masked_fill(~near[:, None], float("-inf"))
        return {"full_attention": full, "sliding_attention": sliding} if self._layer_types else sliding


class _StoreCache(Cache):
    """What transformers calls a cache, over rows of the store. `positions` (B × Q): where the new tokens go."""

    def __init__(self, store: KeyValueStore, rows: Rows, positions: Tensor, length: int) -> None:
        super().__init__(layers=[])
        self._store, self._rows, self._length = store, rows, length
        numbers = torch.arange(store.mask.shape[0])[rows]
        self._numbers = numbers[:, None].expand_as(positions).flatten()
        self._positions = positions.flatten()

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Writes the new tokens in place; gives the rows' whole keys and values."""
        width = self._store.shapes[layer_idx].width
        pair = [F.pad(one, (0, width - one.shape[-1])).transpose(1, 2) for one in (key_states, value_states)]
        places = self._store.places(layer_idx, self._numbers, self._positions)
        self._store.flat(layer_idx).index_copy_(0, places, torch.cat(pair, dim=2).reshape(-1, width))
        return self._store.keys_values(layer_idx, self._rows, self._length)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the new ones; positions are given explicitly, so that it serves sanity checks alone."""
        return self._length - 1


def layer_shapes(run: Callable[..., Any]) -> list[LayerShape]:
    """Shapes of the model's cache, seen by running one token. Raises SidecarError where a layer has none."""
    cache = DynamicCache()
    run(None, input_ids=torch.zeros(1, 1, dtype=torch.long), past_key_values=cache, use_cache=True)
    shapes: list[LayerShape] = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            raise SidecarError(
                "architecture_unsupported",
                "The model keeps something other than keys and values for each token, such as a recurrent state.",
                fix="Choose a base model with attention in all layers.",
                param="model",
            )
        shapes.append(LayerShape(keys.shape[1], keys.shape[-1], values.shape[-1]))
    return shapes


def _sliding_window(config: Any) -> int | None:
    types = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if window is None or (types is not None and "sliding_attention" not in types):
        return None
    return int(window)
