"""A decoding batch with a KV cache that sequences join and leave, and a cache of prefixes for later turns.

Columns of the cache that a row does not use are masked, wherever they are: a row's positions are counted by its own
tokens, so the padding never shows in its numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from ..packing import common_prefix

#: Keys and values of one sequence: per layer two tensors, heads × length × width.
KeyValues = list[tuple[Tensor, Tensor]]
Forward = Callable[..., Any]


class PrefixCache:
    """The latest sequences with their keys and values; finds the longest known beginning of a prompt."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()

    def put(self, ids: list[int], values: KeyValues) -> None:
        """Remembers a sequence; the one that was used longest ago goes."""
        key = tuple(ids)
        self._entries[key] = values
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def find(self, ids: list[int]) -> tuple[int, KeyValues | None]:
        """Length of the longest known beginning, at most all but the last token, and its keys and values."""
        best: tuple[int, tuple[int, ...] | None] = (0, None)
        for known in reversed(self._entries):
            length = common_prefix(known, ids, len(ids) - 1)
            if length > best[0]:
                best = (length, known)
        length, key = best
        if key is None:
            return 0, None
        self._entries.move_to_end(key)
        return length, [(k[:, :length], v[:, :length]) for k, v in self._entries[key]]


@dataclass
class Slot:
    """One sequence in the batch; `owner` is whatever the engine attaches."""

    ids: list[int]
    owner: Any


class Batch:
    """Sequences on one adapter that are decoded together."""

    def __init__(self, forward: Forward, prefixes: PrefixCache) -> None:
        self._forward = forward
        self._prefixes = prefixes
        self.slots: list[Slot] = []
        self._cache: Any = None
        #: which columns of the cache each row uses, B × C
        self._mask = torch.zeros(0, 0, dtype=torch.bool)

    def join(self, slots: list[Slot]) -> Tensor:
        """Adds sequences with their prompts; gives the logits after each prompt, rows of `slots` × V."""
        found = [self._prefixes.find(slot.ids) for slot in slots]
        cache, past = _stack([values for _, values in found])
        rest = [slot.ids[length:] for slot, (length, _) in zip(slots, found, strict=True)]
        width = max(len(ids) for ids in rest)
        ids = torch.zeros(len(slots), width, dtype=torch.long)
        positions = torch.zeros(len(slots), width, dtype=torch.long)
        used = torch.zeros(len(slots), width, dtype=torch.bool)
        for row, (new, (length, _)) in enumerate(zip(rest, found, strict=True)):
            start = width - len(new)
            ids[row, start:] = torch.tensor(new)
            positions[row, start:] = torch.arange(length, length + len(new))
            used[row, start:] = True
        mask = torch.cat([past, used], dim=1)
        output = self._forward(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask.long(),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        new = _unstack(cache, mask)
        for slot, values in zip(slots, new, strict=True):
            self._prefixes.put(slot.ids, values)
        if self.slots:
            new = [*_unstack(self._cache, self._mask), *new]
        self.slots = [*self.slots, *slots]
        self._cache, self._mask = _stack(new)
        return output.logits[:, -1].float()

    def step(self, tokens: list[int]) -> Tensor:
        """Appends one token to each sequence; gives the logits after it, B × V."""
        positions = [len(slot.ids) for slot in self.slots]
        for slot, token in zip(self.slots, tokens, strict=True):
            slot.ids.append(token)
        one = torch.ones(len(self.slots), 1, dtype=torch.bool)
        self._mask = torch.cat([self._mask, one], dim=1)
        output = self._forward(
            input_ids=torch.tensor(tokens)[:, None],
            position_ids=torch.tensor(positions)[:, None],
            attention_mask=self._mask.long(),
            past_key_values=self._cache,
            use_cache=True,
        )
        return output.logits[:, -1].float()

    def leave(self, rows: list[int]) -> None:
        """Takes rows out; what they computed stays known for later turns."""
        values = _unstack(self._cache, self._mask)
        for row in rows:
            # The last sampled token was never fed: its keys and values are not there.
            length = values[row][0][0].shape[1]
            self._prefixes.put(self.slots[row].ids[:length], values[row])
        gone = set(rows)
        kept = [row for row in range(len(self.slots)) if row not in gone]
        self.slots = [self.slots[row] for row in kept]
        if kept:
            self._cache, self._mask = _stack([values[row] for row in kept])
        else:
            self._cache, self._mask = None, torch.zeros(0, 0, dtype=torch.bool)


def _stack(rows: Sequence[KeyValues | None]) -> tuple[Any, Tensor]:
    """A left-padded cache of the rows and the mask (B × C) of the columns that they use."""
    cache = DynamicCache()
    lengths = [0 if values is None else values[0][0].shape[1] for values in rows]
    width = max(lengths)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, width - length :] = True
    sample = next((values for values in rows if values is not None), None)
    if sample is None or width == 0:
        return cache, mask[:, :0]
    for layer, (keys, _) in enumerate(sample):
        pair = []
        for which in (0, 1):
            heads, _, size = sample[layer][which].shape
            stacked = keys.new_zeros(len(rows), heads, width, size)
            for row, values in enumerate(rows):
                if values is not None:
                    stacked[row, :, width - lengths[row] :] = values[layer][which]
            pair.append(stacked)
        cache.update(pair[0], pair[1], layer)
    return cache, mask


def _unstack(cache: Any, mask: Tensor) -> list[KeyValues]:
    """Keys and values of each row, without the columns that it does not use."""
    rows: list[KeyValues] = [[] for _ in range(len(mask))]
    for layer in cache.layers:
        for row, used in enumerate(mask):
            rows[row].append((layer.keys[row][:, used].clone(), layer.values[row][:, used].clone()))
    return rows
