"""Serves policies and trains LoRA adapters for the TypeScript package `apprentice`."""

PROTOCOL_VERSION = 1
