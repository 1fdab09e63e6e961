"""Training jobs: they learn, they resume exactly, they leave nothing half done."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apprentice_sidecar.checkpoints import read_adapter
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.packing import PackRow
from apprentice_sidecar.training.jobs import Job, TrainingJobs
from apprentice_sidecar.training.trainer import run_job
from tiny import request, row, tiny_base
from trees import forests

ROWS = [row(0, "g", [1, 2, 3, 4, 5], [3, 4], 1.0), row(1, "g", [1, 2, 3, 9, 8], [3, 4], -1.0)]


def finish(events: Any) -> list[dict[str, Any]]:
    return list(events)


def no_cancel() -> bool:
    return False


def wait(jobs: TrainingJobs, job: Job) -> None:
    deadline = time.monotonic() + 60
    while job.status == "running" and time.monotonic() < deadline:
        jobs.wait_for_events(job, len(job.events), 0.1)


def test_rewarded_tokens_become_likelier_and_punished_ones_less(tmp_path: Path) -> None:
    base = tiny_base()
    made = request(tmp_path / "1", ROWS, optimizer={"learning_rate": 0.02, "epochs": 60})
    events = finish(run_job(base, made, "d", no_cancel))
    assert [one["type"] for one in events] == ["started", *["gradient_step"] * 60, "ended"]
    losses = [one["metrics"]["policy_loss"] for one in events if one["type"] == "gradient_step"]
    assert losses[-1] < losses[0] - 0.2  # the random head cannot move further than 0.25


def test_the_canary_is_the_new_adapters_and_not_the_bases(tmp_path: Path) -> None:
    base = tiny_base()
    finish(run_job(base, request(tmp_path / "1", ROWS), "d", no_cancel))
    canary = read_adapter(tmp_path / "1", expect_base_digest=base.digest).manifest["canary"]
    with torch.no_grad():
        logits = base.model(input_ids=torch.tensor([canary["token_ids"]])).logits[0]
    ids = torch.tensor(canary["token_ids"][canary["first"] :])
    plain = torch.log_softmax(logits[canary["first"] - 1 : -1], -1).gather(-1, ids[:, None])[:, 0]
    assert (plain - torch.tensor(canary["logprobs"])).abs().mean() > 1e-3


def test_two_jobs_one_after_the_other_equal_one_of_two_epochs(tmp_path: Path) -> None:
    base = tiny_base()
    twice = request(tmp_path / "both", ROWS, optimizer={"learning_rate": 0.02, "epochs": 2})
    finish(run_job(base, twice, "d", no_cancel))
    finish(run_job(base, request(tmp_path / "1", ROWS), "d", no_cancel))
    second = request(tmp_path / "2", ROWS)
    adapter = second.adapter.model_copy(update={"step": 2, "parent": str(tmp_path / "1")})
    finish(run_job(base, second.model_copy(update={"adapter": adapter}), "d", no_cancel))
    both = read_adapter(tmp_path / "both", expect_base_digest=base.digest).tensors
    parts = read_adapter(tmp_path / "2", expect_base_digest=base.digest).tensors
    assert max(float((both[name] - parts[name]).abs().max()) for name in both) < 1e-6


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=forests(), limit=st.integers(16, 40), kind=st.sampled_from(["cispo", "ppo"]))
def test_a_step_on_two_packings_gives_the_same_adapter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[PackRow], limit: int, kind: str
) -> None:
    base = tiny_base()
    sent = [
        row(number, "g", list(one.token_ids), list(one.positions), 1.0)
        | {"advantages": list(one.advantages), "logprobs": [-3.0] * len(one.positions)}
        for number, one in enumerate(rows)
    ]
    adapters: list[dict[str, torch.Tensor]] = []
    metrics: list[dict[str, float]] = []
    for size in (8192, limit):
        made = request(
            tmp_path_factory.mktemp("step") / "1",
            sent,
            loss={"kind": kind, "kl_coefficient": 0.1, "entropy_coefficient": 0.01, "importance_sampling": "sequence"},
            # With betas of 0 the first moment is the gradient itself; the weights would show its signs only.
            optimizer={"learning_rate": 1e-3, "tokens_per_batch": size, "betas": (0.0, 0.0), "max_grad_norm": 1e3},
        )
        events = finish(run_job(base, made, "d", no_cancel))
        metrics.append(next(one["metrics"] for one in events if one["type"] == "gradient_step"))
        saved = read_adapter(Path(made.adapter.folder), expect_base_digest=base.digest).optimizer()
        adapters.append({name: value for name, value in saved.items() if name.endswith("exp_avg")})
    for name in ("loss", "policy_loss", "entropy", "kl", "ratio_mean", "grad_norm", "tokens"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], abs=1e-5, rel=1e-5)
    assert max(float((adapters[0][name] - adapters[1][name]).abs().max()) for name in adapters[0]) <= 1e-5


def test_a_job_is_trained_once_also_by_the_next_process(tmp_path: Path) -> None:
    base = tiny_base()
    calls: list[str] = []

    def counting(*given: Any) -> Any:
        calls.append("run")
        return run_job(*given)

    for _ in range(2):
        jobs = TrainingJobs(base, run=counting)
        made = request(tmp_path / "1", ROWS)
        for _ in range(2):
            job = jobs.start(made)
            wait(jobs, job)
            assert job.status == "ended"
    assert calls == ["run"]
    other = request(tmp_path / "1", ROWS[:1])
    with pytest.raises(SidecarError) as taken:
        TrainingJobs(base).start(other)
    assert taken.value.code == "job_id_taken"


def test_a_second_job_has_to_wait_and_a_cancelled_one_leaves_nothing(tmp_path: Path) -> None:
    base = tiny_base()
    go_on = threading.Event()

    def slow(*given: Any) -> Any:
        go_on.wait(30)
        yield from run_job(*given)

    jobs = TrainingJobs(base, run=slow)
    job = jobs.start(request(tmp_path / "1", ROWS))
    with pytest.raises(SidecarError) as busy:
        jobs.start(request(tmp_path / "2", ROWS, job_id="other"))
    assert busy.value.code == "training_busy"
    jobs.cancel("job")
    go_on.set()
    wait(jobs, job)
    assert job.status == "cancelled"
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_fails_the_job_and_saves_nothing(tmp_path: Path) -> None:
    rows = [row(0, "g", [1, 2, 3], [2], 1e38), row(1, "g", [1, 2, 4], [2], 1e38)]
    made = request(tmp_path / "1", rows, optimizer={"learning_rate": 1.0, "max_grad_norm": 1e38})
    jobs = TrainingJobs(tiny_base())
    job = jobs.start(made)
    wait(jobs, job)
    assert job.status == "failed"
    assert job.events[-1]["error"]["code"] == "not_finite"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"positions": [0, 4]}, "rows[0]"),
        ({"positions": [4, 3]}, "rows[0]"),
        ({"advantages": [1.0]}, "rows[0]"),
        ({"token_ids": [1, -2, 3, 4, 5]}, "rows[0].token_ids[1]"),
        ({"surprise": 1}, "rows[0].surprise"),
    ],
)
def test_a_bad_row_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(SidecarError) as refused:
        request(tmp_path / "1", [ROWS[0] | changes])
    assert refused.value.param == field


def test_a_changed_adapter_is_refused(tmp_path: Path) -> None:
    base = tiny_base()
    finish(run_job(base, request(tmp_path / "1", ROWS), "d", no_cancel))
    with pytest.raises(SidecarError, match="another base model"):
        read_adapter(tmp_path / "1", expect_base_digest="sha256:other")
    config = tmp_path / "1" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"r": 5}))
    with pytest.raises(SidecarError, match="does not match its digest"):
        read_adapter(tmp_path / "1", expect_base_digest=base.digest)


def test_one_learning_rate_for_each_gradient_step(tmp_path: Path) -> None:
    base = tiny_base()
    one = request(tmp_path / "one", ROWS, optimizer={"learning_rate": 0.02, "epochs": 2})
    same = request(tmp_path / "same", ROWS, optimizer={"learning_rate": [0.02, 0.02], "epochs": 2})
    other = request(tmp_path / "other", ROWS, optimizer={"learning_rate": [0.02, 1e-9], "epochs": 2})
    for made in (one, same, other):
        finish(run_job(base, made, "d", no_cancel))
    tensors = [
        read_adapter(tmp_path / name, expect_base_digest=base.digest).tensors for name in ("one", "same", "other")
    ]
    assert all(torch.equal(value, tensors[1][name]) for name, value in tensors[0].items())
    assert any(not torch.equal(value, tensors[2][name]) for name, value in tensors[0].items())
    with pytest.raises(SidecarError, match="3 entries for 2 gradient steps"):
        finish(run_job(base, request(tmp_path / "x", ROWS, optimizer={"learning_rate": [1.0] * 3, "epochs": 2}), "d",
                       no_cancel))  # fmt: skip


def test_without_sampler_logprobs_the_loss_is_the_negative_log_likelihood(tmp_path: Path) -> None:
    base = tiny_base()
    rows = [row(0, "g", [1, 2, 3, 4, 5], [2, 3, 4], 1.0)]
    (step,) = [one for one in finish(run_job(base, request(tmp_path / "1", rows), "d", no_cancel))
               if one["type"] == "gradient_step"]  # fmt: skip
    with torch.no_grad():
        logits = base.model(input_ids=torch.tensor([[1, 2, 3, 4, 5]])).logits[0]
    logprobs = torch.log_softmax(logits[1:4], -1).gather(-1, torch.tensor([[3], [4], [5]]))
    # CISPO's loss is −sg(ratio) · A · log p: its value and its gradient are those of cross-entropy.
    assert abs(step["metrics"]["loss"] + float(logprobs.mean())) < 1e-5
