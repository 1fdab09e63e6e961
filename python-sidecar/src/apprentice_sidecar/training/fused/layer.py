"""One decoder layer with LoRA, forward and backward by hand.

The frozen weights get no gradient, the layer keeps only what its backward pass cannot cheaply compute again, and the
projections of one input add to one gradient in place. In exact arithmetic it is what transformers and PEFT compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...products import times, times_transposed
from .attention import AttentionPlan, tree_attention, tree_attention_backward


@dataclass(frozen=True)
class Projection:
    """x ↦ x·Wᵀ + bias + scaling · (x·Aᵀ)·Bᵀ; without an adapter A and B are None."""

    weight: Tensor
    bias: Tensor | None
    a: Tensor | None
    b: Tensor | None
    scaling: float

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The result, and x·Aᵀ for the backward pass."""
        result = times_transposed(x, self.weight, self.bias)
        if self.a is None or self.b is None:
            return result, None
        low = x @ self.a.t()
        return result.addmm_(low, self.b.t(), alpha=self.scaling), low

    def backward(
        self, gradient: Tensor, x: Tensor, low: Tensor | None, *, into: Tensor | None = None, wanted: bool = True
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Gradients of x (with `into` added, whose memory may be used; None where not `wanted`), of A and of B."""
        to_low = to_a = to_b = None
        if self.a is not None and self.b is not None and low is not None:
            # The few rows of A and Bᵀ come first or lie along memory: the other way round products take thrice as long.
            to_low = (gradient @ self.b.t().contiguous().t()).mul_(self.scaling)
            to_a = to_low.t() @ x
            to_b = (low.t() @ gradient).mul_(self.scaling).t()
        if not wanted:
            return None, to_a, to_b
        to_x = times(gradient, self.weight, into)
        if to_low is not None and self.a is not None:
            to_x.addmm_(to_low, self.a)
        return to_x, to_a, to_b

    @property
    def parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """A and B."""
        return self.a, self.b


@dataclass(frozen=True)
class Norm:
    """Root-mean-square norm over the last dimension with a frozen weight."""

    weight: Tensor
    epsilon: float

    def scale(self, x: Tensor) -> Tensor:
        """1 / the root mean square of x, with a last dimension of 1."""
        return torch.linalg.vecdot(x, x).div_(x.shape[-1]).add_(self.epsilon).rsqrt_()[..., None]

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        """x · scale · weight."""
        return (x * scale).mul_(self.weight)

    def backward(self, gradient: Tensor, x: Tensor, scale: Tensor) -> Tensor:
        """The gradient of x; uses the memory of `gradient`."""
        weighted = gradient.mul_(self.weight)
        inner = torch.linalg.vecdot(weighted, x)[..., None].div_(x.shape[-1]) * scale.square()
        return weighted.addcmul_(x, inner, value=-1).mul_(scale)


@dataclass(frozen=True)
class Layer:
    """The frozen weights of a decoder layer and its adapters."""

    query: Projection
    key: Projection
    value: Projection
    output: Projection
    gate: Projection
    up: Projection
    down: Projection
    attention_norm: Norm
    feed_forward_norm: Norm
    #: norms of each query and key head, in models that have them
    query_norm: Norm | None
    key_norm: Norm | None
    head_size: int
    attention_scale: float

    @property
    def projections(self) -> tuple[Projection, ...]:
        """In the order in which gradients are handed back."""
        return (self.query, self.key, self.value, self.output, self.gate, self.up, self.down)

    def parameters(self) -> Iterator[Tensor | None]:
        """A and B of each projection."""
        for projection in self.projections:
            yield from projection.parameters

    def run(self, x: Tensor, positions: Positions, plan: AttentionPlan) -> Tensor:
        """The layer's output for the queries of `plan`, from the hidden states of all tokens (P × H)."""
        return _LayerFunction.apply(x, self, positions, plan, *self.parameters())  # pyright: ignore[reportReturnType] -- apply is untyped


@dataclass(frozen=True)
class Positions:
    """Cosines and sines of the rotary embedding, P × D each; the first half of the sines negated."""

    cosines: Tensor
    sines: Tensor

    def at(self, rows: Tensor | None) -> Positions:
        """Those of some tokens; None: of all."""
        return self if rows is None else Positions(self.cosines[rows], self.sines[rows])

    def rotate(self, x: Tensor) -> Tensor:
        """Rotary embedding (arXiv 2104.09864) of P × heads × D, halves of D paired."""
        return self._turn(x, self.sines)

    def rotate_back(self, x: Tensor) -> Tensor:
        """The inverse, which is the backward pass."""
        return self._turn(x, -self.sines)

    def _turn(self, x: Tensor, sines: Tensor) -> Tensor:
        # Whole heads at once: loops over half of a head take twice as long.
        return (x * self.cosines[:, None]).addcmul_(x.roll(x.shape[-1] // 2, -1), sines[:, None])


class _LayerFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Layer, positions: Positions, plan: AttentionPlan, *_: Any) -> Tensor:
        rows = plan.rows
        scale1 = layer.attention_norm.scale(x)
        normed = layer.attention_norm.forward(x, scale1)
        plain_q, low_q = layer.query.forward(_take(normed, rows))
        plain_k, low_k = layer.key.forward(normed)
        v, low_v = layer.value.forward(normed)
        del normed
        plain_q, plain_k, v = (_split(one, layer.head_size) for one in (plain_q, plain_k, v))
        q, scale_q = _norm_heads(layer.query_norm, plain_q)
        k, scale_k = _norm_heads(layer.key_norm, plain_k)
        q, k = positions.at(rows).rotate(q), positions.rotate(k)
        attended, total = tree_attention(_grouped(q, k), k, v, plan.blocks, layer.attention_scale)
        mixed, low_o = layer.output.forward(attended.flatten(1))
        middle = mixed.add_(_take(x, rows))
        scale2 = layer.feed_forward_norm.scale(middle)
        normed = layer.feed_forward_norm.forward(middle, scale2)
        gate, low_g = layer.gate.forward(normed)
        up, low_u = layer.up.forward(normed)
        del normed
        result, low_d = layer.down.forward(torch.nn.functional.silu(gate).mul_(up))
        result.add_(middle)
        ctx.layer, ctx.positions, ctx.plan = layer, positions, plan
        ctx.save_for_backward(
            x, scale1, q, k, v, attended, total, middle, scale2, gate, up,
            low_q, low_k, low_v, low_o, low_g, low_u, low_d,
            None if scale_q is None else plain_q, scale_q, None if scale_k is None else plain_k, scale_k,
        )  # fmt: skip
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x, scale1, q, k, v, attended, total, middle, scale2, gate, up, *low, plain_q, scale_q, plain_k, scale_k) = (
            ctx.saved_tensors
        )
        low_q, low_k, low_v, low_o, low_g, low_u, low_d = low
        layer: Layer = ctx.layer
        rows: Tensor | None = ctx.plan.rows
        below = ctx.needs_input_grad[0]
        # Nothing under a gradient that no adapter needs is computed: the backward pass stops here.
        in_scores = below or any(one.a is not None for one in (layer.query, layer.key, layer.value))
        in_attention = in_scores or layer.output.a is not None
        (gradient,) = gradients

        active = torch.nn.functional.silu(gate)
        to_active, a_d, b_d = layer.down.backward(gradient, active * up, low_d)
        assert to_active is not None
        to_up = active.mul_(to_active)
        to_gate = torch.ops.aten.silu_backward(to_active.mul_(up), gate)
        normed = layer.feed_forward_norm.forward(middle, scale2)
        to_normed, a_g, b_g = layer.gate.backward(to_gate, normed, low_g, wanted=in_attention)
        to_normed, a_u, b_u = layer.up.backward(to_up, normed, low_u, into=to_normed, wanted=in_attention)
        del to_active, to_up, to_gate, active, normed
        a_q = b_q = a_k = b_k = a_v = b_v = a_o = b_o = to_x = None
        if to_normed is not None:
            to_middle = layer.feed_forward_norm.backward(to_normed, middle, scale2).add_(gradient)
            to_attended, a_o, b_o = layer.output.backward(to_middle, attended.flatten(1), low_o, wanted=in_scores)
            if to_attended is not None:
                to_q, to_k, to_v = tree_attention_backward(
                    to_attended.view_as(attended), _grouped(q, k), k, v, attended, total, ctx.plan.blocks,
                    layer.attention_scale,
                )  # fmt: skip
                to_q = _norm_heads_backward(
                    layer.query_norm, ctx.positions.at(rows).rotate_back(to_q.view_as(q)), plain_q, scale_q
                )
                to_k = _norm_heads_backward(layer.key_norm, ctx.positions.rotate_back(to_k), plain_k, scale_k)
                normed = layer.attention_norm.forward(x, scale1)
                to_normed, a_k, b_k = layer.key.backward(to_k, normed, low_k, wanted=below)
                to_normed, a_v, b_v = layer.value.backward(to_v.flatten(1), normed, low_v, into=to_normed, wanted=below)
                into = to_normed if rows is None else None
                from_q, a_q, b_q = layer.query.backward(to_q, _take(normed, rows), low_q, into=into, wanted=below)
                if to_normed is not None and from_q is not None:
                    to_normed = from_q if rows is None else to_normed.index_add_(0, rows, from_q)
                    to_x = layer.attention_norm.backward(to_normed, x, scale1)
                    to_x = to_x.add_(to_middle) if rows is None else to_x.index_add_(0, rows, to_middle)
        adapters = (a_q, b_q, a_k, b_k, a_v, b_v, a_o, b_o, a_g, b_g, a_u, b_u, a_d, b_d)
        return to_x, None, None, None, *adapters


def _take(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x[rows]


def _split(x: Tensor, size: int) -> Tensor:
    """P × (heads · size) as P × heads × size."""
    return x.view(x.shape[0], -1, size)


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """P × heads × D as P × key heads × query heads of each × D."""
    return query.view(query.shape[0], key.shape[1], -1, query.shape[2])


def _norm_heads(norm: Norm | None, x: Tensor) -> tuple[Tensor, Tensor | None]:
    if norm is None:
        return x, None
    scale = norm.scale(x)
    return norm.forward(x, scale), scale


def _norm_heads_backward(norm: Norm | None, gradient: Tensor, x: Tensor | None, scale: Tensor | None) -> Tensor:
    if norm is not None and x is not None and scale is not None:
        gradient = norm.backward(gradient, x, scale)
    return gradient.flatten(1)
