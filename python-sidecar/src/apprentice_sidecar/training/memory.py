"""How much memory this process has held."""

from __future__ import annotations

import resource
import sys

import torch


def peak_memory_bytes(device: torch.device | None = None) -> int:
    """The most memory held so far: allocated on a CUDA device, or else resident in this process."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts kilobytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
