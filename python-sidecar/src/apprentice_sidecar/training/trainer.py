"""One training job, for every engine alike: rows → packs → gradient steps → an adapter folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..base_model import BaseModel
from ..checkpoints import AdapterCheckpoint, read_adapter, write_adapter
from ..errors import SidecarError
from ..loss import LossSettings, TokenBatch, policy_loss
from ..packing import Pack, PackRow, pack_rows
from ..protocol import Row, TrainingJobRequest
from .contract import BuildPolicy
from .threads import choose_threads
from .transformers import build_policy

#: Longer packs are not faster on a CPU and need more memory.
LONGEST_PACK = 2048
#: Tokens whose logprobs the served adapter must reproduce before it is published, and how many go before them.
CANARY_TOKENS, CANARY_CONTEXT = 48, 16

Event = dict[str, Any]


class Cancelled(Exception):
    """The job was cancelled between two forward passes."""


def run_job(
    base: BaseModel,
    request: TrainingJobRequest,
    request_digest: str,
    is_cancelled: Callable[[], bool],
    *,
    build: BuildPolicy = build_policy,
) -> Iterator[Event]:
    """Trains; yields events, the last of type `ended`. Raises SidecarError or Cancelled and then leaves nothing.

    `build` is the engine.
    """
    started = time.monotonic()
    _check_rows(base, request)
    if base.device.type == "cpu":
        choose_threads(int(base.model.config.hidden_size))
    trainer = _Trainer(base, request, build)
    steps = _gradient_steps(request, isolate=trainer.policy.isolates_rows)
    packed = sum(len(pack.token_ids) for packs in steps for pack in packs)
    tokens = sum(len(row.token_ids) for row in request.rows)
    trained = sum(len(row.positions) for row in request.rows)
    yield {"type": "started", "rows": len(request.rows), "tokens": tokens, "trained_tokens": trained,
           "packed_tokens": packed}  # fmt: skip
    total = len(steps) * request.optimizer.epochs
    rates = _learning_rates(request, total)
    if total > 1 and request.loss.truncated_importance_sampling is not None:
        trainer.remember_proximal(steps, is_cancelled)
    for index in range(total):
        metrics = trainer.gradient_step(steps[index % len(steps)], rates[index], is_cancelled)
        yield {"type": "gradient_step", "index": index + 1, "of": total, "metrics": metrics}
    seconds = time.monotonic() - started
    metrics = {
        "seconds": seconds,
        "samples_per_second": len(request.rows) * request.optimizer.epochs / seconds,
        "tokens_per_second": tokens * request.optimizer.epochs / seconds,
        "peak_memory_bytes": trainer.policy.peak_memory_bytes(),
    }
    if is_cancelled():
        raise Cancelled
    manifest = trainer.save(request_digest, metrics)
    adapter = {"name": request.adapter.name, "step": request.adapter.step, "folder": request.adapter.folder,
               "digest": manifest["digest"]}  # fmt: skip
    yield {"type": "ended", "adapter": adapter, "metrics": metrics}


def _check_rows(base: BaseModel, request: TrainingJobRequest) -> None:
    vocabulary = int(base.model.config.vocab_size)
    for index, row in enumerate(request.rows):
        if len(row.token_ids) > base.context_length:
            raise SidecarError(
                "row_too_long",
                f"rows[{index}] has {len(row.token_ids)} tokens; the base model takes {base.context_length}.",
                fix="Leave such sequences out.",
                param=f"rows[{index}].token_ids",
            )
        if max(row.token_ids) >= vocabulary:
            raise SidecarError(
                "token_out_of_range",
                f"rows[{index}] holds the token id {max(row.token_ids)}; the vocabulary ends at {vocabulary - 1}.",
                fix="Train only on ids that this base model sampled.",
                param=f"rows[{index}].token_ids",
            )


def _gradient_steps(request: TrainingJobRequest, *, isolate: bool) -> list[list[Pack]]:
    """The rows, dealt by group into `gradient_steps` parts, each packed; without `isolate` one row a pack."""
    groups = sorted({row.group_id for row in request.rows})
    parts = min(request.optimizer.gradient_steps, len(groups))
    part_of = {group: number % parts for number, group in enumerate(groups)}
    limit = min(request.optimizer.tokens_per_batch, LONGEST_PACK)
    rows = [[_pack_row(row) for row in request.rows if part_of[row.group_id] == part] for part in range(parts)]
    return [pack_rows(part, limit, isolate=isolate) for part in rows]


def _learning_rates(request: TrainingJobRequest, total: int) -> list[float]:
    rates = request.optimizer.learning_rate
    if not isinstance(rates, list):
        return [rates] * total
    if len(rates) != total:
        raise SidecarError(
            "learning_rates_mismatch",
            f"optimizer.learning_rate has {len(rates)} entries for {total} gradient steps.",
            fix="Give one number, or one for each gradient step of all epochs.",
            param="optimizer.learning_rate",
        )
    return rates


def _pack_row(row: Row) -> PackRow:
    return PackRow(row.token_ids, row.positions, row.logprobs, row.advantages, row.weights)


class _Trainer:
    """A policy and its optimizer."""

    def __init__(self, base: BaseModel, request: TrainingJobRequest, build: BuildPolicy) -> None:
        self._base = base
        self._request = request
        spec = request.adapter
        self._parent = None
        if spec.parent is not None:
            self._parent = read_adapter(Path(spec.parent), expect_base_digest=base.digest)
        self.policy = build(base, spec.lora)
        self._parameters = self.policy.parameters
        settings = request.optimizer
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(),
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=all(value.device.type == "cpu" for value in self._parameters.values()),
        )
        if self._parent is not None:
            self._restore(self._parent)
        self._loss = LossSettings(**request.loss.model_dump())
        #: Logprobs (T) of each pack's targets when the job began, by the pack's identity.
        self._proximal: dict[int, Tensor] = {}

    def _restore(self, parent: AdapterCheckpoint) -> None:
        try:
            self.policy.load(parent.tensors)
        except ValueError as error:
            raise SidecarError(
                "adapter_invalid",
                f"The parent adapter in {parent.folder} does not fit this job's LoRA settings: {error}.",
                fix="Keep `lora` the same over all steps of one name.",
                http_status=422,
                param="adapter.parent",
            ) from error
        saved = parent.optimizer()
        for name, parameter in self._parameters.items():
            moments = {key: saved[f"{name}.{key}"].to(parameter.device) for key in ("exp_avg", "exp_avg_sq")}
            # AdamW counts its steps on the CPU.
            self._optimizer.state[parameter] = {"step": saved[f"{name}.step"].clone(), **moments}

    def remember_proximal(self, steps: list[list[Pack]], is_cancelled: Callable[[], bool]) -> None:
        """Keeps what the weights at the start of the job say about every pack; see `policy_loss`."""
        for pack in (pack for packs in steps for pack in packs):
            if is_cancelled():
                raise Cancelled
            self._proximal[id(pack)] = self._fixed_logprobs(pack)

    def _fixed_logprobs(self, pack: Pack) -> Tensor:
        with torch.no_grad():
            return self._logprobs(pack)[0].float()

    def _base_logprobs(self, packs: list[Pack]) -> tuple[list[Tensor | None], float | None]:
        """The base model's logprobs of each pack, and the mean of policy − base over the whole gradient step."""
        if self._loss.kl_coefficient == 0.0:
            return [None] * len(packs), None
        with self.policy.without_adapter():
            bases = [self._fixed_logprobs(pack) for pack in packs]
        differences = [self._fixed_logprobs(pack) - base for pack, base in zip(packs, bases, strict=True)]
        return list(bases), float(torch.cat(differences).mean())

    def gradient_step(
        self, packs: list[Pack], learning_rate: float, is_cancelled: Callable[[], bool]
    ) -> dict[str, float]:
        """One optimizer step over the packs; the loss is the weighted mean over all their trained tokens."""
        started = time.monotonic()
        normaliser = sum(sum(pack.weights) for pack in packs)
        if normaliser == 0:
            raise SidecarError("no_weight", "All weights of a gradient step are 0.", fix="Leave such rows out.")
        self._optimizer.zero_grad()
        sums: dict[str, float] = {}
        gap_max = 0.0
        bases, mean_kl = self._base_logprobs(packs)
        for pack, base in zip(packs, bases, strict=True):
            if is_cancelled():
                raise Cancelled
            new, entropy = self._logprobs(pack)
            result = policy_loss(
                new, entropy, _token_batch(pack, new.device), self._loss,
                base=base, mean_kl=mean_kl, proximal=self._proximal.get(id(pack)),
            )  # fmt: skip
            (result.total / normaliser).backward()
            gap_max = max(gap_max, result.gap_max)
            for name, value in result.sums.items():
                sums[name] = sums.get(name, 0.0) + value
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._request.optimizer.max_grad_norm))
        if not torch.isfinite(torch.tensor([norm, sums["loss"]])).all():
            raise SidecarError(
                "not_finite",
                "The loss or its gradient is not finite.",
                fix="Lower the learning rate, or look at the advantages and logprobs of the rows.",
                http_status=422,
            )
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = learning_rate
        self._optimizer.step()
        count = sum(len(pack.targets) for pack in packs)
        known = max(sums.pop("known"), 1.0)
        gap_mean = sums.pop("logprob_gap") / known
        metrics = {name: value / count for name, value in sums.items()}
        metrics["loss"] = sums["loss"] / normaliser
        metrics["policy_loss"] = sums["policy_loss"] / normaliser
        return metrics | {
            "grad_norm": norm,
            "logprob_gap_mean": gap_mean,
            "logprob_gap_max": gap_max,
            "tokens": float(count),
            "seconds": time.monotonic() - started,
        }

    def _logprobs(self, pack: Pack) -> tuple[Tensor, Tensor]:
        return self.policy.logprobs(pack, entropy_gradient=self._loss.entropy_coefficient != 0.0)

    def save(self, request_digest: str, metrics: dict[str, Any]) -> dict[str, Any]:
        """Writes the adapter folder; gives its manifest."""
        spec = self._request.adapter
        optimizer: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state[parameter].items():
                optimizer[f"{name}.{key}"] = value
        config = dict(self.policy.configuration) | {"base_model_name_or_path": self._base.name, "inference_mode": True}
        return write_adapter(
            Path(spec.folder),
            config={key: value for key, value in config.items() if _is_json(value)},
            tensors=self.policy.tensors(),
            optimizer=optimizer,
            manifest={
                "name": spec.name,
                "step": spec.step,
                "job_id": self._request.job_id,
                "request_digest": request_digest,
                "parent_digest": None if self._parent is None else self._parent.digest,
                "base_digest": self._base.digest,
                "tokenizer_digest": self._base.tokenizer_digest,
                "created_at": datetime.now(timezone.utc).isoformat(),
                "canary": self._canary(),
                "metrics": metrics,
            },
        )

    def _canary(self) -> dict[str, Any]:
        """A piece of a trained row, with the new weights' logprobs of its last tokens."""
        row = max(self._request.rows, key=lambda one: len(one.positions))
        end = row.positions[-1] + 1
        ids = row.token_ids[max(0, end - CANARY_TOKENS - CANARY_CONTEXT) : end]
        first = max(1, len(ids) - CANARY_TOKENS)
        places = list(range(first, len(ids)))
        blank = [0.0] * len(places)
        (pack,) = pack_rows([PackRow(ids, places, blank, blank, blank)], len(ids))
        with torch.no_grad():
            logprobs, _ = self._logprobs(pack)
        return {"token_ids": ids, "first": first, "logprobs": logprobs.tolist()}


def _token_batch(pack: Pack, device: torch.device) -> TokenBatch:
    old = [float("nan") if value is None else value for value in pack.logprobs]
    return TokenBatch(
        old=torch.tensor(old, device=device),
        advantages=torch.tensor(pack.advantages, device=device),
        weights=torch.tensor(pack.weights, device=device),
        rows=torch.tensor(pack.rows, device=device),
    )


def _is_json(value: object) -> bool:
    return isinstance(value, (str, int, float, bool, list, dict, type(None)))
