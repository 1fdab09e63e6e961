"""Remembers the keys and values of earlier sequences in blocks, so that a later turn computes only what is new.

The blocks form a trie: a block is found by its parent and its own ids, so a look-up costs the length of the prompt,
however many sequences are known. The block that was used longest ago goes first; as a hit renews a block's whole path,
that one never has children.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from torch import Tensor

#: Tokens in a block.
BLOCK = 16


@dataclass
class _Node:
    ids: tuple[int, ...]
    parent: _Node | None
    values: list[Tensor] = field(default_factory=lambda: [])
    children: dict[tuple[int, ...], _Node] = field(default_factory=lambda: {})


class PrefixCache:
    """Blocks of one adapter's, or the base model's, sequences. `budget` is shared with the other adapters."""

    def __init__(self, budget: PrefixBudget) -> None:
        self._budget = budget
        self._root = _Node((), None)

    def find(self, ids: list[int]) -> list[list[Tensor]]:
        """The known blocks at the beginning of `ids`, never all of it: one token is left to ask the model with."""
        found: list[list[Tensor]] = []
        node: _Node | None = self._root
        path: list[_Node] = []
        for start in range(0, len(ids) - BLOCK, BLOCK):
            node = node.children.get(tuple(ids[start : start + BLOCK]))
            if node is None:
                break
            path.append(node)
            found.append(node.values)
        self._budget.renew(path)
        return found

    def known(self, ids: list[int]) -> int:
        """How many tokens of `ids`, whole blocks, are known; the blocks after them may be put."""
        node, known = self._root, 0
        while known + BLOCK <= len(ids):
            child = node.children.get(tuple(ids[known : known + BLOCK]))
            if child is None:
                break
            node, known = child, known + BLOCK
        return known

    def put(self, ids: list[int], start: int, blocks: list[list[Tensor]]) -> None:
        """Adds blocks that follow the first `start` tokens of `ids`, which are known."""
        node, path = self._root, []
        for place in range(0, start + BLOCK * len(blocks), BLOCK):
            key = tuple(ids[place : place + BLOCK])
            child = node.children.get(key)
            if child is None:
                child = _Node(key, node, blocks[(place - start) // BLOCK])
                node.children[key] = child
            node = child
            path.append(node)
        self._budget.renew(path)

    def forget(self) -> None:
        """Drops all blocks, as when an adapter is unloaded."""
        self._budget.drop(self._root)
        self._root = _Node((), None)


class PrefixBudget:
    """The most bytes that all prefixes may take, and the order in which blocks are given up."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._order: OrderedDict[int, _Node] = OrderedDict()
        self.used = 0

    def renew(self, path: list[_Node]) -> None:
        """Marks a path as just used, its end first, and drops what exceeds the budget."""
        for node in reversed(path):
            if id(node) in self._order:
                self._order.move_to_end(id(node))
            else:
                self._order[id(node)] = node
                self.used += _bytes(node)
        while self.used > self._capacity and self._order:
            _, oldest = self._order.popitem(last=False)
            self.used -= _bytes(oldest)
            if oldest.parent is not None:
                oldest.parent.children.pop(oldest.ids, None)

    def drop(self, root: _Node) -> None:
        """Takes everything under `root` out of the books."""
        left = list(root.children.values())
        while left:
            node = left.pop()
            left += node.children.values()
            if self._order.pop(id(node), None) is not None:
                self.used -= _bytes(node)


def _bytes(node: _Node) -> int:
    return sum(values.numel() * values.element_size() for values in node.values)
