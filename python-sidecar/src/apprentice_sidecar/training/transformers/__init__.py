"""The plain training engine, on every device: transformers' model with PEFT's LoRA."""

from .policy import build_policy as build_policy
