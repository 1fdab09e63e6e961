"""Chooses how many OpenMP threads a decode step uses, by measuring.

A second thread helps a large model and slows a tiny one, and it slows both while a training job has the other core:
no rule of thumb knows. So the first steps of each batch size try every choice, and from time to time it is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from ..threads import available_threads

#: Steps that each choice is measured for; the fastest one counts, which a disturbance cannot make faster.
TRIES = 4
#: Steps after which the choices are measured anew.
RENEW_AFTER = 400


@dataclass
class _Size:
    """What is known of one batch size."""

    steps: int = 0
    fastest: dict[int, float] = field(default_factory=lambda: {})
    best: int = 1


class ThreadChoice:
    """For one thread alone: OpenMP's setting belongs to the thread that calls."""

    def __init__(self, most: int | None = None) -> None:
        cores = most if most is not None else available_threads()
        self._choices = [1] if cores == 1 else [1, cores] if cores < 4 else [1, cores // 2, cores]
        self._sizes: dict[int, _Size] = {}

    def begin(self, rows: int) -> None:
        """Sets the threads for a step of so many rows."""
        size = self._size(rows)
        trial = size.steps // TRIES
        threads = self._choices[trial] if trial < len(self._choices) else size.best
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)

    def end(self, rows: int, seconds: float) -> None:
        """Notes how long the step took."""
        size = self._size(rows)
        trial = size.steps // TRIES
        size.steps += 1
        if trial >= len(self._choices):
            if size.steps >= RENEW_AFTER:
                self._sizes[_bucket(rows)] = _Size(best=size.best)
            return
        threads = self._choices[trial]
        size.fastest[threads] = min(seconds / rows, size.fastest.get(threads, float("inf")))
        size.best = min(size.fastest, key=lambda one: size.fastest[one])

    def most(self) -> None:
        """Sets all threads, for prompts: long passes share all of their work, short ones their large products."""
        if torch.get_num_threads() != self._choices[-1]:
            torch.set_num_threads(self._choices[-1])

    def _size(self, rows: int) -> _Size:
        return self._sizes.setdefault(_bucket(rows), _Size())


def _bucket(rows: int) -> int:
    """Sizes of about the same cost: a power of two."""
    return rows.bit_length()
