"""The policy-gradient loss, in plain torch, the same for every engine. All arithmetic is in float32.

T is the number of trained tokens. `new`: log-probabilities under the weights being trained; `old`: under the policy
that sampled; where the sampler gave none, old is `new` without a gradient, which makes the ratio 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Tokens whose logits are held at once.
CHUNK = 512
#: Log-ratios are kept within ± this many nats, so that a ratio is always a number; every sensible clip is far inside.
LOG_RATIO_BOUND = 20.0


@dataclass(frozen=True)
class LossSettings:
    """What the loss is made of; see docs/sidecar-protocol.md for each number."""

    kind: Literal["cispo", "ppo"] = "cispo"
    clip_low: float = 1.0
    clip_high: float = 4.0
    importance_sampling: Literal["token", "sequence"] = "token"
    kl_coefficient: float = 0.0
    truncated_importance_sampling: float | None = None
    entropy_coefficient: float = 0.0


@dataclass(frozen=True)
class TokenBatch:
    """Per trained token, T each: the sampler's logprob (NaN where missing), advantage, weight and row number."""

    old: Tensor
    advantages: Tensor
    weights: Tensor
    rows: Tensor


@dataclass(frozen=True)
class LossResult:
    """`total` is a sum over tokens, to be divided by the summed weight of the whole gradient step."""

    total: Tensor
    #: sums over tokens, for means over several packs
    sums: dict[str, float]
    #: largest |new − old| over tokens that have an old
    gap_max: float


def token_logprobs(
    hidden: Tensor,
    targets: Tensor,
    head: Callable[[Tensor], Tensor],
    *,
    chunk: int = CHUNK,
    entropy_gradient: bool = True,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities (T) of `targets` (T) and entropies (T) from hidden states (T × H), in chunks.

    The logits of a chunk are thrown away and computed again in the backward pass, so that memory is chunk × vocabulary
    instead of T × vocabulary. `head` maps hidden states to logits, soft caps and scales included; where it is one
    frozen matrix, `matrix_logprobs` is faster.
    Without `entropy_gradient` the entropies are numbers only, which saves their part of the backward pass.
    """

    def one(part: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        logprobs = torch.log_softmax(head(part).float(), dim=-1)
        source = logprobs if entropy_gradient else logprobs.detach()
        # xlogy-like: a token that a mask or overflow has ruled out adds 0, not NaN.
        entropy = -torch.where(source == -torch.inf, 0.0, source.exp() * source).sum(-1)
        return logprobs.gather(-1, ids[:, None])[:, 0], entropy

    chosen: list[Tensor] = []
    entropies: list[Tensor] = []
    for start in range(0, len(targets), chunk):
        part, ids = hidden[start : start + chunk], targets[start : start + chunk]
        logprobs, entropy = checkpoint(one, part, ids, use_reentrant=False) if part.requires_grad else one(part, ids)
        chosen.append(logprobs)
        entropies.append(entropy)
    return torch.cat(chosen), torch.cat(entropies)


def matrix_logprobs(
    hidden: Tensor, targets: Tensor, weight: Tensor, *, chunk: int = CHUNK, entropy_gradient: bool = True
) -> tuple[Tensor, Tensor]:
    """What `token_logprobs` gives, for logits = hidden · weightᵀ with a frozen weight (V × H), all in float32.

    A token's log-probability is one number, so the gradient of its hidden state is that number's gradient times a
    fixed direction, weight[target] − Σ p·weight. It is found while the logits of the chunk are at hand: the backward
    pass needs no logits at all.
    """
    result = _MatrixLogprobs.apply(hidden, targets, weight, chunk, entropy_gradient)
    return result  # pyright: ignore[reportReturnType] -- apply is untyped


class _MatrixLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, targets: Tensor, weight: Tensor, chunk: int, entropy_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        chosen = hidden.new_empty(len(targets))
        entropies = hidden.new_empty(len(targets))
        wanted = ctx.needs_input_grad[0]
        towards = torch.empty_like(hidden) if wanted else None
        towards_entropy = torch.empty_like(hidden) if wanted and entropy_gradient else None
        # One buffer for all chunks: fresh pages for each would cost more than the arithmetic on them.
        buffer = hidden.new_empty(min(chunk, len(targets)), len(weight))
        for start in range(0, len(targets), chunk):
            part = slice(start, start + chunk)
            ids = targets[part]
            logits = torch.mm(hidden[part], weight.t(), out=buffer[: len(ids)])
            highest = logits.amax(-1, keepdim=True)
            chosen[part] = logits.gather(-1, ids[:, None])[:, 0] - highest[:, 0]
            shifted = logits.sub_(highest)
            probabilities = shifted.exp()
            total = probabilities.sum(-1, keepdim=True)
            probabilities.div_(total)
            log_total = total.log_()
            chosen[part] -= log_total[:, 0]
            # Entropy: log-total − Σ p · shifted.
            mean = torch.linalg.vecdot(probabilities, shifted)[:, None]
            entropies[part] = (log_total - mean)[:, 0]
            if towards is not None:
                torch.mm(probabilities, weight, out=towards[part])
            if towards_entropy is not None:
                # d entropy / d logit = −p · (shifted − mean).
                torch.mm(shifted.sub_(mean).mul_(probabilities).neg_(), weight, out=towards_entropy[part])
        if towards is not None:
            torch.sub(weight[targets], towards, out=towards)
        ctx.save_for_backward(towards, towards_entropy)
        if towards_entropy is None:
            ctx.mark_non_differentiable(entropies)
        return chosen, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        towards, towards_entropy = ctx.saved_tensors
        to_chosen, to_entropies = gradients
        to_hidden = towards * to_chosen[:, None]
        if towards_entropy is not None:
            to_hidden.addcmul_(towards_entropy, to_entropies[:, None])
        return to_hidden, None, None, None, None


def policy_loss(
    new: Tensor,
    entropy: Tensor,
    batch: TokenBatch,
    settings: LossSettings,
    *,
    base: Tensor | None = None,
    mean_kl: float | None = None,
    proximal: Tensor | None = None,
) -> LossResult:
    """The loss summed over T tokens, each times its weight.

    CISPO (MiniMax-M1, arXiv 2506.13585): −sg(clip(ratio, 1 − low, 1 + high)) · A · new.
    PPO (arXiv 1707.06347): −min(ratio · A, clip(ratio, 1 − low, 1 + high) · A).
    Sequence level (GSPO, arXiv 2507.18071): ratio = exp(mean over the row of new − old).
    KL to the base: A += coefficient · (mean_kl − kl), with kl = new − base, detached. `mean_kl` is the mean over the
    whole gradient step, so that the cut into packs does not show; None takes the mean of this batch.
    Truncated importance sampling (FlashRL, Yao et al. 2025; the same in arXiv 2510.18855 for sampler mismatch): the
    ratio is taken against `proximal`, the trainer's own logprobs when the job began, and the loss times
    min(exp(proximal − sampler), cap) makes up for what the sampler computed otherwise. None: the job has only one
    gradient step, so proximal is `new`.
    """
    new = new.float()
    known = ~torch.isnan(batch.old)
    sampler = torch.where(known, batch.old, new.detach())
    old = sampler
    if settings.truncated_importance_sampling is not None:
        old = new.detach() if proximal is None else proximal
    difference = new - old
    if settings.importance_sampling == "sequence":
        difference = _mean_by_row(difference, batch.rows)
    ratio = difference.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
    advantages = batch.advantages
    kl = torch.zeros_like(new) if base is None else (new - base).detach()
    if settings.kl_coefficient != 0.0:
        advantages = advantages + settings.kl_coefficient * ((kl.mean() if mean_kl is None else mean_kl) - kl)
    clipped = ratio.clamp(1.0 - settings.clip_low, 1.0 + settings.clip_high)
    if settings.kind == "cispo":
        losses = -clipped.detach() * advantages * new
    else:
        losses = -torch.minimum(ratio * advantages, clipped * advantages)
    if settings.truncated_importance_sampling is not None:
        mismatch = torch.where(known, old - sampler, 0.0).clamp(max=LOG_RATIO_BOUND).exp()
        losses = losses * mismatch.clamp(max=settings.truncated_importance_sampling)
    policy = (losses * batch.weights).sum()
    total = policy
    if settings.entropy_coefficient != 0.0:
        total = policy - settings.entropy_coefficient * (entropy * batch.weights).sum()
    gaps = (new.detach() - batch.old)[known].abs()
    sums = {
        "loss": float(total.detach()),
        "policy_loss": float(policy.detach()),
        "entropy": float(entropy.detach().sum()),
        "ratio_mean": float(ratio.detach().sum()),
        "clip_fraction": float((clipped != ratio).float().sum()),
        "logprob_gap": float(gaps.sum()),
        "known": float(known.sum()),
    }
    if base is not None:
        sums["kl"] = float(kl.sum())
    return LossResult(total, sums, float(gaps.max()) if len(gaps) else 0.0)


def _mean_by_row(values: Tensor, rows: Tensor) -> Tensor:
    """Each value replaced by the mean of its row."""
    _, index = torch.unique(rows, return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    sums = values.new_zeros(count).index_add(0, index, values)
    lengths = values.new_zeros(count).index_add(0, index, torch.ones_like(values))
    return (sums / lengths)[index]
