"""What makes a process fast, whoever has started it; to be called before it imports torch and starts threads."""

from __future__ import annotations

import os

from .allocation import keep_freed_memory

#: Read by OpenMP and torch as they are loaded. What the user has set stays.
_DEFAULTS = {
    # A spinning barrier on shared cores waits for a thread that is not scheduled: 30 times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Huge pages for large tensors where the system grants them: a training step meets 80,000 page faults otherwise.
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare_process() -> None:
    """Sets what is not set in the environment, and how memory is allocated."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    keep_freed_memory()
