"""Trains LoRA adapters: `jobs` keeps the books, `trainer` does the work."""
