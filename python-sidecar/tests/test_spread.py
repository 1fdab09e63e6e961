"""Which parts of a decode step wake other threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from apprentice_sidecar.serving.spread import LARGE, Spread


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_only_large_parts_have_all_threads() -> None:
    with Spread() as spread:
        assert torch.get_num_threads() == 1
        assert spread.run(LARGE, torch.get_num_threads) == 2
        assert spread.run(LARGE - 1, torch.get_num_threads) == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_a_part_that_fails_leaves_the_threads_as_they_were() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), Spread() as spread:
        try:
            spread.run(LARGE, fail)
        finally:
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_one_thread_stays_one() -> None:
    torch.set_num_threads(1)
    with Spread() as spread:
        assert spread.run(LARGE, torch.get_num_threads) == 1
