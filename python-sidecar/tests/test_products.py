"""Products with frozen weights give what torch gives, whichever library computes them."""

from __future__ import annotations

import pytest
import torch

from apprentice_sidecar.products import LARGE, large_from, times, times_transposed


@pytest.mark.parametrize("rows", [3, 1 + LARGE // (96 * 64)])
@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_small_and_large_products_are_those_of_torch(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    x, weight, into = torch.randn(rows, 64), torch.randn(96, 64), torch.randn(rows, 64)
    offset = torch.randn(96) if bias else None
    y = torch.nn.functional.linear(x, weight, offset)
    assert torch.allclose(times_transposed(x, weight, offset), y, rtol=0, atol=5e-5)
    assert torch.allclose(times(y, weight), y @ weight, rtol=1e-5, atol=5e-4)
    assert torch.allclose(times(y, weight, into.clone()), into + y @ weight, rtol=1e-5, atol=5e-4)


def test_mkl_is_left_early_where_it_was_not_made_for_the_processor() -> None:
    assert large_from("vendor_id\t: AuthenticAMD") < large_from("vendor_id\t: GenuineIntel") == large_from("")
