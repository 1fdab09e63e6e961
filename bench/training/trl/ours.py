"""The sidecar's engine and trainer on the same work: rollouts, a training job to an adapter folder, its publication."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from apprentice_sidecar.allocation import hand_back_freed_memory, keep_freed_memory
from apprentice_sidecar.base_model import BaseModel, load_base
from apprentice_sidecar.protocol import TrainingJobRequest, parse
from apprentice_sidecar.serving.engine import Engine, Sequence
from apprentice_sidecar.serving.sampling import SamplingSettings
from apprentice_sidecar.training.trainer import run_job
from work import (
    ALPHA,
    BETAS,
    GROUP,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    RANK,
    Clock,
    Work,
    answer,
    peak_megabytes,
    prompts,
    reward,
    wait_for_turn,
    work,
)


def generate(
    engine: Engine, adapter: str | None, given: Work, step: int
) -> list[list[tuple[list[int], list[int], list[float]]]]:
    """Groups of (prompt, ids, logprobs), decoded together."""
    done: list[Future[None]] = []
    groups: list[list[tuple[list[int], list[int], list[float]]]] = []
    for prompt in prompts(given, step):
        group: list[tuple[list[int], list[int], list[float]]] = []
        for _ in range(GROUP):
            group.append(_submit(engine, adapter, given, prompt, done))
        groups.append(group)
    for future in done:
        future.result()
    return groups


def _submit(
    engine: Engine, adapter: str | None, given: Work, prompt: list[int], done: list[Future[None]]
) -> tuple[list[int], list[int], list[float]]:
    ids: list[int] = []
    logprobs: list[float] = []
    ended: Future[None] = Future()

    def on_token(token: int, logprob: float) -> bool:
        ids.append(token)
        logprobs.append(logprob)
        return True

    def on_end(error: BaseException | None) -> None:
        if error is None:
            ended.set_result(None)
        else:
            ended.set_exception(error)

    engine.submit(Sequence(adapter, list(prompt), given.answer, SamplingSettings(), on_token, on_end))
    done.append(ended)
    return prompt, ids, logprobs


def job(given: Work, groups: Any, step: int, folder: Path) -> tuple[TrainingJobRequest, float]:
    """The training job of a step, and the mean reward."""
    rows: list[dict[str, Any]] = []
    rewards: list[float] = []
    for number, group in enumerate(groups):
        scores = [reward(given, ids) for _, ids, _ in group]
        rewards.extend(scores)
        mean, spread = statistics.fmean(scores), statistics.stdev(scores) + 1e-4
        for member, ((prompt, ids, logprobs), score) in enumerate(zip(group, scores, strict=True)):
            assert len(ids) == given.answer
            rows.append(
                {
                    "row_id": f"{number}-{member}",
                    "group_id": str(number),
                    "token_ids": [*prompt, *ids],
                    "positions": list(range(len(prompt), len(prompt) + len(ids))),
                    "logprobs": logprobs,
                    "advantages": [(score - mean) / spread] * len(ids),
                    "weights": [1.0] * len(ids),
                }
            )
    body = {
        "job_id": f"job-{step}",
        "adapter": {
            "name": "bench",
            "step": step + 1,
            "parent": None if step == 0 else str(folder / str(step)),
            "folder": str(folder / str(step + 1)),
            "lora": {"rank": RANK, "alpha": ALPHA, "seed": given.seed},
        },
        "rows": rows,
        "optimizer": {
            "learning_rate": LEARNING_RATE,
            "betas": list(BETAS),
            "weight_decay": 0.0,
            "max_grad_norm": MAX_GRAD_NORM,
        },
    }
    return parse(TrainingJobRequest, body), statistics.fmean(rewards)


def in_thread(work: Callable[[], object]) -> None:
    """Does the work in a thread of its own, as the server does with each job."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    hand_back_freed_memory()


def take_step(base: BaseModel, engine: Engine, given: Work, step: int, folder: Path) -> dict[str, float]:
    """Generates, trains and publishes; seconds by part, and the mean reward."""
    clock, cpu_started = Clock(), time.process_time()
    adapter = None if step == 0 else f"bench@{step}"
    groups = clock.time("generate", lambda: generate(engine, adapter, given, step))
    request, mean = clock.time("train", lambda: job(given, groups, step, folder))
    clock.time("train", lambda: in_thread(lambda: list(run_job(base, request, "bench", lambda: False))))
    clock.time("publish", lambda: engine.publish(f"bench@{step + 1}", folder / str(step + 1)).result())
    if adapter is not None:
        engine.retire(adapter).result()
    cpu_seconds = time.process_time() - cpu_started
    return {**clock.seconds, "seconds": sum(clock.seconds.values()), "cpu_seconds": cpu_seconds, "reward": mean}


def main() -> None:
    """Takes steps until the driver ends."""
    given = work()
    keep_freed_memory()
    torch.manual_seed(given.seed)
    base = load_base(given.model)
    engine = Engine(base)
    answer(ready=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in range(given.steps):
            turn = wait_for_turn()
            if turn is None:
                break
            answer(**take_step(base, engine, given, step, folder), peak_megabytes=peak_megabytes())
    engine.close()


if __name__ == "__main__":
    main()
