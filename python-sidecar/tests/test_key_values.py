"""The store takes memory for tokens that there are, not for those that there might be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from apprentice_sidecar.serving.key_values import FIRST_CAPACITY, KeyValueStore, LayerShape

SHAPES = [LayerShape(heads=4, key_width=64, value_width=64)] * 4
ROWS = 64


def _resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_no_token_has_touched_is_not_taken_also_when_it_was_given_back_before() -> None:
    reserved = ROWS * 2 * 4 * FIRST_CAPACITY * 64 * 4 * len(SHAPES)
    before = _resident()
    for _ in range(4):
        store = KeyValueStore(SHAPES, torch.float32, ROWS)
        store.ensure(2 * FIRST_CAPACITY)
        store.release()
        assert _resident() - before < reserved / 10


def test_a_store_of_short_sequences_keeps_its_memory_when_the_last_one_leaves() -> None:
    store = KeyValueStore(SHAPES, torch.float32, ROWS)
    places = [layer.data_ptr() for layer in store.layers]
    store.commit(0, 9)
    store.clear(0)
    store.release()
    assert [layer.data_ptr() for layer in store.layers] == places
    assert bool(store.mask.isneginf().all())


def test_a_store_that_has_grown_gives_the_room_for_long_sequences_back() -> None:
    store = KeyValueStore(SHAPES, torch.float32, ROWS)
    store.ensure(3 * FIRST_CAPACITY)
    assert store.capacity == 4 * FIRST_CAPACITY
    store.release()
    assert store.capacity == store.mask.shape[1] == store.layers[0].shape[3] == FIRST_CAPACITY


def test_one_more_token_in_each_row_is_visible_at_its_place() -> None:
    store = KeyValueStore(SHAPES, torch.float32, 4)
    store.commit(0, 2)
    store.commit(1, 5)
    store.commit_one_each(2)
    assert store.lengths == [3, 6, 0, 0]
    assert (store.mask == 0).sum(dim=-1).tolist() == [3, 6, 0, 0]


def test_a_store_lies_on_the_default_device_whatever_that_is() -> None:
    with torch.device("meta"):
        store = KeyValueStore(SHAPES, torch.float32, 4)
        store.ensure(FIRST_CAPACITY + 1)
    assert {one.device.type for one in [*store.layers, store.mask]} == {"meta"}
