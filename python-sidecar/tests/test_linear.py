"""A projection gives what torch gives, whichever layout its weights lie in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from apprentice_sidecar.serving.linear import PACK_FROM, SMALL_FROM, Linear, fits_float16

WIDTH, OUT = 257, 520


def _modules(dtype: torch.dtype, *, bias: bool) -> list[nn.Linear]:
    """Two projections whose weights have gone through `dtype`."""
    torch.manual_seed(0)
    modules = [nn.Linear(WIDTH, size, bias=bias) for size in (OUT, 24)]
    for module in modules:
        module.weight.data = module.weight.data.to(dtype).float()
    return modules


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 16, 70])
@torch.no_grad()
def test_a_packed_projection_gives_what_separate_ones_give(dtype: torch.dtype, bias: bool, rows: int) -> None:
    modules = _modules(dtype, bias=bias)
    assert sum(module.weight.numel() for module in modules) >= PACK_FROM
    x = torch.randn(rows, WIDTH)
    expected = torch.cat([module(x) for module in modules], dim=-1)
    assert torch.allclose(Linear(modules, packed=True)(x), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, SMALL_FROM // (WIDTH * 48) + 1])
@torch.no_grad()
def test_so_does_a_small_one_for_few_rows_and_for_many(bias: bool, rows: int) -> None:
    torch.manual_seed(0)
    modules = [nn.Linear(WIDTH, size, bias=bias) for size in (24, 24)]
    x = torch.randn(rows, WIDTH)
    expected = torch.cat([module(x) for module in modules], dim=-1)
    assert torch.allclose(Linear(modules, packed=True)(x), expected, rtol=0, atol=5e-6)


def test_16_bits_hold_what_was_published_in_16_bits_and_nothing_finer() -> None:
    weight = torch.randn(5000, 8, generator=torch.Generator().manual_seed(0)) * 0.02
    assert fits_float16(weight.half().float())
    assert fits_float16(weight.bfloat16().float())
    assert not fits_float16(weight)
    one_finer = weight.half().float()
    one_finer[4999, 7] = 0.1
    assert not fits_float16(one_finer)
    too_large = weight.half().float()
    too_large[0, 0] = 1e5
    assert not fits_float16(too_large)
