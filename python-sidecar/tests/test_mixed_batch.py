"""One batch for all adapters: each row gets its own, and the sampler's log-probabilities are the trainer's."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import torch

from apprentice_sidecar.base_model import BaseModel
from apprentice_sidecar.checkpoints import read_adapter
from apprentice_sidecar.packing import PackRow, pack_rows
from apprentice_sidecar.protocol import Lora
from apprentice_sidecar.serving.engine import Engine, Sequence
from apprentice_sidecar.serving.sampling import SamplingSettings
from apprentice_sidecar.training.trainer import run_job
from apprentice_sidecar.training.transformers.policy import TransformersPolicy
from tiny import request, row, tiny_base

PROMPTS = [[3, 4, 5], [7, 8, 9, 10, 11], [3, 4, 6], [12]]
Answer = tuple[list[int], list[float]]


def train(base: BaseModel, folder: Path, step: int, wanted: list[int]) -> None:
    made = request(folder, [row(0, "g", [3, 4, *wanted], [2, 3, 4], 1.0), row(1, "g", [3, 4, 9, 9], [2, 3], -1.0)])
    adapter = made.adapter.model_copy(update={"step": step})
    optimizer = made.optimizer.model_copy(update={"learning_rate": 0.3})
    list(run_job(base, made.model_copy(update={"adapter": adapter, "optimizer": optimizer}), "d", lambda: False))


def ask(engine: Engine, adapter: str | None, prompt: list[int]) -> Future[Answer]:
    done: Future[Answer] = Future()
    tokens: list[int] = []
    logprobs: list[float] = []

    def on_token(token: int, logprob: float) -> bool:
        tokens.append(token)
        logprobs.append(logprob)
        return True

    def on_end(error: BaseException | None) -> None:
        if error is None:
            done.set_result((tokens, logprobs))
        else:
            done.set_exception(error)

    engine.submit(Sequence(adapter, prompt, 12, SamplingSettings(), on_token, on_end))
    return done


def trainers_logprobs(policy: TransformersPolicy, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    ids = [*prompt, *tokens]
    places = list(range(len(prompt), len(ids)))
    blank = [0.0] * len(places)
    (pack,) = pack_rows([PackRow(ids, places, blank, blank, blank)], len(ids))
    with torch.no_grad():
        return policy.logprobs(pack, entropy_gradient=False)[0]


def test_rows_of_two_steps_and_the_base_model_in_one_batch_each_get_their_own(tmp_path: Path) -> None:
    base = tiny_base()
    for step, wanted in ((1, [5, 6, 7]), (2, [20, 21, 22])):
        train(base, tmp_path / str(step), step, wanted)
    engine = Engine(base)
    try:
        for step in (1, 2):
            engine.publish(f"a@{step}", tmp_path / str(step)).result(timeout=30)
        asked = [(name, prompt) for prompt in PROMPTS for name in (None, "a@1", "a@2")]
        waiting = [ask(engine, name, prompt) for name, prompt in asked]
        answers = [one.result(timeout=30) for one in waiting]
    finally:
        engine.close()
    gaps: list[float] = []
    others: list[float] = []
    lora = Lora(rank=4, alpha=8)
    policies = {name: TransformersPolicy(base, lora) for name in (None, "a@1", "a@2")}
    for step in (1, 2):
        policies[f"a@{step}"].load(read_adapter(tmp_path / str(step), expect_base_digest=base.digest).tensors)
    for (name, prompt), (tokens, logprobs) in zip(asked, answers, strict=True):
        for other, policy in policies.items():
            expected = trainers_logprobs(policy, prompt, tokens)
            gap = float((torch.tensor(logprobs) - expected).abs().max())
            (gaps if other == name else others).append(gap)
    assert max(gaps) <= 1e-5
    # The three differ by far more than that: a row on another adapter would show.
    assert min(others) >= 1e-3
