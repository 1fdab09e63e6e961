"""What both sides of the benchmark share: the work that is asked for, and how a worker is driven.

A worker reads one line from standard input for each gradient step and answers with one line of JSON that begins with
`MARK`; everything else that it prints is noise.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MARK = "@result "
GROUP = 8
RANK, ALPHA = 8, 16
LEARNING_RATE, BETAS, MAX_GRAD_NORM = 1e-3, (0.9, 0.999), 1.0


@dataclass(frozen=True)
class Work:
    """`batch` rollouts a step, in groups of `GROUP`, of `prompt` and `answer` tokens."""

    model: str
    vocabulary: int
    prompt: int
    answer: int
    batch: int
    seed: int
    steps: int


def work() -> Work:
    """From the command line, as JSON."""
    return Work(**json.loads(sys.argv[1]))


def prompts(given: Work, step: int) -> list[list[int]]:
    """The prompts of a step, the same on both sides and never met before, so that nothing can be kept from earlier."""
    chance = random.Random(f"{given.seed}-{step}")
    count = given.batch // GROUP
    return [[chance.randrange(4, given.vocabulary) for _ in range(given.prompt)] for _ in range(count)]


def word(number: int) -> str:
    """The word of an id. All are of one length: special tokens are also found inside words that begin with them."""
    return f"t{number:05}"


def reward(given: Work, ids: list[int]) -> float:
    """Share of ids in the lower quarter of the vocabulary: something that a trained model can learn, and quickly."""
    return sum(one < given.vocabulary // 4 for one in ids) / len(ids)


def answer(**values: Any) -> None:
    """One line for the driver."""
    print(f"\n{MARK}{json.dumps(values)}", flush=True)


def wait_for_turn() -> dict[str, Any] | None:
    """What the driver wants of the next step; None at the end."""
    line = sys.stdin.readline()
    return json.loads(line) if line.strip() else None


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clock:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, function: Callable[[], Any]) -> Any:
        """Runs the function and counts its time."""
        started = time.perf_counter()
        result = function()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        return result
