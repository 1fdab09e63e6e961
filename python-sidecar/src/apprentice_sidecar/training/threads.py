"""How many threads a training job uses, by measurement: a shared or throttled core can make two slower than one."""

from __future__ import annotations

import time

import torch

from ..threads import available_threads

#: Rows of the product that is timed; its other sides are the model's own.
ROWS = 256
#: The fastest of at least so many products counts, which a disturbance cannot make faster.
TRIES = 3
#: Seconds for which several threads are tried, unless they soon are faster than fewer by `CLEARLY`. Threads that slept
#: may wake on one core, and the system takes some 15 ms to part them: until then two look no faster than one.
SETTLING, CLEARLY = 0.06, 0.8


def choose_threads(width: int, *, most: int | None = None) -> int:
    """Sets the fastest number of threads for products of `width` × `width` weights, for the calling thread; gives it.

    Always sets one: a fresh thread begins with whatever another thread of the process has asked for last. Takes tens of
    milliseconds. `most`: default `OMP_NUM_THREADS`, or all cores that this process may use.
    """
    highest = most or available_threads()
    left, right = torch.ones(ROWS, width), torch.ones(width, width)
    found: dict[int, float] = {}
    for threads in sorted({1, max(1, highest // 2), highest}):
        found[threads] = _seconds(left, right, threads, CLEARLY * min(found.values(), default=float("inf")))
    best = min(found, key=lambda threads: found[threads])
    torch.set_num_threads(best)
    return best


def _seconds(left: torch.Tensor, right: torch.Tensor, threads: int, enough: float) -> float:
    """How long the product takes; tries go on for `SETTLING` until one takes no longer than `enough`."""
    torch.set_num_threads(threads)
    torch.mm(left, right)  # starts the threads
    times: list[float] = []
    ends = time.perf_counter() + SETTLING
    while len(times) < TRIES or (min(times) > enough and time.perf_counter() < ends):
        started = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - started)
    return min(times)
