"""The decoding batch: sequences of all adapters, each in its row of the store, which join and leave between tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .forward import Forward, Piece, Rows
from .key_values import KeyValueStore, LayerShape
from .prefixes import BLOCK, PrefixBudget, PrefixCache

#: Tokens of prompts that one forward pass takes at most: bounds the memory of attention masks and activations.
PREFILL_TOKENS = 512
#: Bytes of keys and values kept for later turns, over all adapters.
PREFIX_BYTES = 512 * 1024 * 1024
#: Numbers in one layer that copies of a prompt's keys and values would take, from which they are read in one place.
BORROW_FROM = 1 << 18


@dataclass
class Slot:
    """One sequence in the batch; `owner` is whatever the engine attaches."""

    ids: list[int]
    adapter: str | None
    owner: Any


class Batch:
    """Rows 0 to len(slots) − 1 of the store are in use. `route` says which forward serves an adapter."""

    def __init__(
        self,
        route: Callable[[str | None], Forward],
        shapes: list[LayerShape],
        dtype: torch.dtype,
        *,
        rows: int,
        prefix_bytes: int = PREFIX_BYTES,
    ) -> None:
        self._route = route
        self._store = KeyValueStore(shapes, dtype, rows)
        self._budget = PrefixBudget(prefix_bytes)
        self._prefixes: dict[str | None, PrefixCache] = {}
        self.slots: list[Slot] = []
        self._parts: list[tuple[Forward, Rows, list[str | None]]] = []

    def join(self, slots: list[Slot]) -> Tensor:
        """Adds sequences with their prompts; gives the logits after each prompt, rows of `slots` × V.

        Equal prompts are computed once, and kept once where they are long; a prompt that begins as another one of the
        same call waits for its blocks.
        """
        first = len(self.slots)
        self._store.ensure(max(len(slot.ids) for slot in slots))
        logits: dict[_Key, tuple[int, Tensor]] = {}
        try:
            left = _distinct(slots)
            while left:
                wave = self._independent(slots, left)
                entries = [(first + place, slots[place]) for place in wave]
                for place, row_logits in zip(wave, self._prefill(entries), strict=True):
                    logits[_key(slots[place])] = (first + place, row_logits)
                left = [place for place in left if place not in wave]
            self._spread({key: row for key, (row, _) in logits.items()}, slots)
        except BaseException:
            # Borrowers first: there is nobody left to take over from.
            for row in reversed(range(first, first + len(slots))):
                self._store.clear(row)
            raise
        self.slots = [*self.slots, *slots]
        self._regroup()
        return torch.stack([logits[_key(slot)][1] for slot in slots])

    def step(self, tokens: list[int]) -> Tensor:
        """Appends one token to each sequence; gives the logits after it, B × V."""
        store = self._store
        store.ensure(max(store.lengths) + 1)
        fed = torch.tensor(tokens)
        if len(self._parts) == 1:
            forward, rows, names = self._parts[0]
            logits = forward.decode(store, rows, fed, names)
        else:
            parts = [forward.decode(store, rows, fed[rows], names) for forward, rows, names in self._parts]
            logits = parts[0].new_empty(len(tokens), parts[0].shape[-1])
            for part, (_, rows, _) in zip(parts, self._parts, strict=True):
                logits[rows] = part
        for slot, token in zip(self.slots, tokens, strict=True):
            slot.ids.append(token)
        store.commit_one_each(len(tokens))
        return logits

    def leave(self, rows: list[int]) -> None:
        """Takes rows out; what they computed stays known for later turns. The last rows move into the gaps."""
        for row in sorted(rows, reverse=True):
            slot = self.slots[row]
            # The last sampled token was never fed: its keys and values are not there.
            self._remember(row, slot)
            last = len(self.slots) - 1
            if row != last:
                self._store.move_row(last, row)
                self.slots[row] = self.slots[last]
            else:
                self._store.clear(last)
            self.slots.pop()
        if not self.slots:
            self._store.release()
        self._regroup()

    def forget(self, adapter: str | None) -> None:
        """Drops the prefixes of an adapter that is no longer served."""
        cache = self._prefixes.pop(adapter, None)
        if cache is not None:
            cache.forget()

    def _spread(self, computed: dict[_Key, int], slots: list[Slot]) -> None:
        """Gives the prompts that were computed, by key in which row, to all slots with the same prompt."""
        first = len(self.slots)
        counts = Counter(_key(slot) for slot in slots)
        numbers = max(shape.numbers for shape in self._store.shapes)
        for place, slot in enumerate(slots):
            source, target = computed[_key(slot)], first + place
            if source == target:
                continue
            again = (counts[_key(slot)] - 1) * len(slot.ids) * numbers
            if self._route(slot.adapter).borrows and again >= BORROW_FROM:
                self._store.borrow_row(source, target)
            else:
                self._store.copy_row(source, target)

    def _prefill(self, entries: list[tuple[int, Slot]]) -> list[Tensor]:
        """Computes prompts into their rows; the logits after each."""
        work: list[tuple[int, Slot, int]] = []
        for row, slot in entries:
            known = 0
            for block in self._cache(slot.adapter).find(slot.ids):
                self._store.write(row, known, block)
                known += BLOCK
            self._store.commit(row, known)
            work.append((row, slot, known))
        logits: dict[int, Tensor] = {}
        lengths = {row: len(slot.ids) for row, slot in entries}
        for forward, pieces, ends in self._passes(work):
            wanted = torch.tensor(ends, dtype=torch.long)
            found = forward.prefill(self._store, pieces, wanted)
            for piece in pieces:
                self._store.commit(piece.row, piece.start + len(piece.ids))
            done = [piece.row for piece in pieces if self._store.lengths[piece.row] == lengths[piece.row]]
            logits |= zip(done, found, strict=True)
        for row, slot in entries:
            self._remember(row, slot)
        return [logits[row] for row, _ in entries]

    def _independent(self, slots: list[Slot], places: list[int]) -> list[int]:
        """Those of `places` whose next unknown block no other one before it begins with."""
        chosen: dict[_Key, int] = {}
        for place in places:
            slot = slots[place]
            known = self._cache(slot.adapter).known(slot.ids)
            chosen.setdefault((slot.adapter, tuple(slot.ids[: known + BLOCK])), place)
        return list(chosen.values())

    def _passes(self, work: list[tuple[int, Slot, int]]) -> list[tuple[Forward, list[Piece], list[int]]]:
        """Cuts prompts into forward passes; with each the places, in its tokens, of the prompts' last ones."""
        passes: list[tuple[Forward, list[Piece], list[int]]] = []
        room, current = 0, None
        for row, slot, known in work:
            forward = self._route(slot.adapter)
            start = known
            while start < len(slot.ids):
                if room == 0 or current is not forward:
                    passes.append((forward, [], []))
                    room, current = PREFILL_TOKENS, forward
                end = min(len(slot.ids), start + room)
                _, pieces, ends = passes[-1]
                pieces.append(Piece(row, start, slot.ids[start:end], slot.adapter))
                room -= end - start
                if end == len(slot.ids):
                    ends.append(PREFILL_TOKENS - room - 1)
                start = end
        return passes

    def _remember(self, row: int, slot: Slot) -> None:
        length = self._store.lengths[row]
        ids = slot.ids[:length]
        cache = self._cache(slot.adapter)
        known = cache.known(ids)
        whole = length - length % BLOCK
        blocks = [self._store.read(row, start, start + BLOCK) for start in range(known, whole, BLOCK)]
        cache.put(ids, known, blocks)

    def _cache(self, adapter: str | None) -> PrefixCache:
        return self._prefixes.setdefault(adapter, PrefixCache(self._budget))

    def _regroup(self) -> None:
        routes = [self._route(slot.adapter) for slot in self.slots]
        forwards = list(dict.fromkeys(routes))
        if len(forwards) <= 1:
            names = [slot.adapter for slot in self.slots]
            self._parts = [(one, slice(0, len(names)), names) for one in forwards]
            return
        # The rows of a part are picked one by one: each must have all of its tokens.
        self._store.settle()
        self._parts = []
        for forward in forwards:
            rows = [row for row, one in enumerate(routes) if one is forward]
            self._parts.append((forward, torch.tensor(rows), [self.slots[row].adapter for row in rows]))


#: Prompts with the same key have the same keys and values.
_Key = tuple[str | None, tuple[int, ...]]


def _key(slot: Slot) -> _Key:
    return slot.adapter, tuple(slot.ids)


def _distinct(slots: list[Slot]) -> list[int]:
    """Places of the first of each group of equal prompts."""
    return list({_key(slot): place for place, slot in reversed(list(enumerate(slots)))}.values())[::-1]
