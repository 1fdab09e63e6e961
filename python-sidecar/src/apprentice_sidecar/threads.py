"""How many threads there are to choose from."""

from __future__ import annotations

import os


def available_threads() -> int:
    """`OMP_NUM_THREADS` where it is a number, at most the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(asked), cores) if asked.isdigit() and int(asked) > 0 else cores
