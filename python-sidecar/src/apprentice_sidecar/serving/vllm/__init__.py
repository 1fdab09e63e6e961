"""Serves with vLLM: its own process in its own environment, behind our routes."""
