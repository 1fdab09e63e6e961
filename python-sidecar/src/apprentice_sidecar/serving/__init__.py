"""Serves the base model and adapter steps on the CPU, many requests at a time."""
