"""The loss, with numbers that a person can check."""

from __future__ import annotations

import math

import pytest
import torch

from apprentice_sidecar.loss import LossSettings, TokenBatch, policy_loss, token_logprobs


def batch(old: list[float], advantages: list[float], rows: list[int] | None = None) -> TokenBatch:
    count = len(old)
    return TokenBatch(torch.tensor(old), torch.tensor(advantages), torch.ones(count), torch.tensor(rows or [0] * count))


def run(new: list[float], made: TokenBatch, settings: LossSettings, base: list[float] | None = None):
    values = torch.tensor(new, requires_grad=True)
    against = None if base is None else torch.tensor(base)
    result = policy_loss(values, torch.zeros(len(new)), made, settings, base=against)
    result.total.backward()
    assert values.grad is not None
    return result, values.grad.tolist()


def test_cispo_weighs_the_gradient_by_the_clipped_ratio() -> None:
    # ratios 1, e, e^3; the last is clipped to 1 + 4
    _, gradient = run([-1.0, -1.0, -1.0], batch([-1.0, -2.0, -4.0], [1.0, 1.0, 1.0]), LossSettings())
    assert gradient == pytest.approx([-1.0, -math.e, -5.0])


def test_cispo_keeps_a_gradient_where_ppo_has_none() -> None:
    made = batch([-2.0], [1.0])
    _, ppo = run([-1.0], made, LossSettings(kind="ppo", clip_low=0.2, clip_high=0.2))
    _, cispo = run([-1.0], made, LossSettings(clip_high=0.2))
    assert ppo == [0.0]
    assert cispo == pytest.approx([-1.2])


def test_ppo_is_pessimistic_for_negative_advantages() -> None:
    # ratio e, A = -1: min(-e, -1.2) = -e, so the loss is e and its gradient e
    result, gradient = run([-1.0], batch([-2.0], [-1.0]), LossSettings(kind="ppo", clip_low=0.2, clip_high=0.2))
    assert float(result.total.detach()) == pytest.approx(math.e)
    assert gradient == pytest.approx([math.e])


def test_a_missing_sampler_logprob_counts_as_on_policy() -> None:
    result, gradient = run([-3.0], batch([float("nan")], [2.0]), LossSettings())
    assert gradient == pytest.approx([-2.0])
    assert result.sums["known"] == 0


def test_sequence_level_ratios_are_the_same_within_a_row() -> None:
    made = batch([-1.0, -2.0, -1.0], [1.0, 1.0, 1.0], rows=[7, 7, 8])
    _, gradient = run([-1.0, -1.0, -1.0], made, LossSettings(importance_sampling="sequence"))
    assert gradient == pytest.approx([-math.exp(0.5), -math.exp(0.5), -1.0])


def test_kl_moves_advantage_from_tokens_that_left_the_base_to_those_that_did_not() -> None:
    made = batch([-1.0, -1.0], [0.0, 0.0])
    _, gradient = run([-1.0, -1.0], made, LossSettings(kl_coefficient=0.5), base=[-3.0, -1.0])
    # kl = [2, 0], mean 1: advantages become 0.5 · (1 − 2) and 0.5 · (1 − 0)
    assert gradient == pytest.approx([0.5, -0.5])


def test_truncated_importance_sampling_caps_the_weight() -> None:
    made = batch([-4.0], [1.0])
    settings = LossSettings(clip_high=0.0, truncated_importance_sampling=2.0)
    _, gradient = run([-1.0], made, settings)
    assert gradient == pytest.approx([-2.0])


def test_the_cap_is_on_the_mismatch_of_the_samplers_and_not_on_what_the_job_has_learnt() -> None:
    # the trainer said −3 where the sampler said −4: weight e; since then the policy has gone on to −1
    values = torch.tensor([-1.0], requires_grad=True)
    settings = LossSettings(clip_high=0.2, truncated_importance_sampling=5.0)
    made = batch([-4.0], [1.0])
    policy_loss(values, torch.zeros(1), made, settings, proximal=torch.tensor([-3.0])).total.backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([-1.2 * math.e])


def test_the_mean_divergence_is_that_of_the_whole_gradient_step() -> None:
    values = torch.tensor([-1.0], requires_grad=True)
    settings = LossSettings(kl_coefficient=0.5)
    made = batch([-1.0], [0.0])
    policy_loss(values, torch.zeros(1), made, settings, base=torch.tensor([-3.0]), mean_kl=1.0).total.backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0.5])


def test_an_impossible_token_leaves_the_entropy_a_number() -> None:
    logits = torch.tensor([[0.0, -torch.inf]])
    _, entropy = token_logprobs(logits, torch.tensor([0]), lambda hidden: hidden)
    assert entropy.tolist() == [0.0]


def test_the_gap_is_measured_against_the_sampler() -> None:
    result, _ = run([-1.0, -2.0], batch([-1.5, -2.25], [1.0, 1.0]), LossSettings())
    assert result.sums["logprob_gap"] == pytest.approx(0.75)
    assert result.gap_max == pytest.approx(0.5)


def test_chunked_logprobs_equal_the_plain_ones_with_their_gradients() -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=False)
    hidden = torch.randn(23, 8, requires_grad=True)
    targets = torch.randint(0, 50, (23,))
    chosen, entropy = token_logprobs(hidden, targets, head, chunk=5)
    (chosen.sum() + entropy.sum()).backward()
    assert hidden.grad is not None
    chunked = hidden.grad.clone()
    hidden.grad = None
    plain = torch.log_softmax(head(hidden), -1)
    (plain.gather(-1, targets[:, None]).sum() - (plain.exp() * plain).sum()).backward()
    assert torch.allclose(chosen, plain.gather(-1, targets[:, None])[:, 0], atol=1e-6)
    assert hidden.grad is not None
    assert torch.allclose(chunked, hidden.grad, atol=1e-5)
