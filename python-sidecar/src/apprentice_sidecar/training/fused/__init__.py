"""The trainer's own forward and backward pass, for models built like Llama, on a CPU."""

from .policy import FusedPolicy, fits

__all__ = ["FusedPolicy", "fits"]
