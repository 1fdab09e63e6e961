"""Threads are measured, set for the job's own thread, and never more than allowed."""

from __future__ import annotations

from threading import Thread

import pytest
import torch

from apprentice_sidecar.threads import available_threads
from apprentice_sidecar.training import threads
from apprentice_sidecar.training.threads import choose_threads


def in_a_thread(most: int, width: int = 64) -> tuple[int, int]:
    """What was chosen, and what torch then used there."""
    found: list[tuple[int, int]] = []

    def work() -> None:
        found.append((choose_threads(width, most=most), torch.get_num_threads()))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def test_the_fastest_number_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        for seconds, best in (({1: 0.2, 2: 0.1}, 2), ({1: 0.1, 2: 0.2}, 1)):
            monkeypatch.setattr(threads, "_seconds", lambda *given, seconds=seconds: seconds[given[2]])
            assert in_a_thread(2) == (best, best)
    finally:
        torch.set_num_threads(before)


def test_threads_that_are_slow_at_first_are_given_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    # Two threads share a core until 20 ms have passed.
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])

    def multiply(_left: torch.Tensor, _right: torch.Tensor) -> None:
        count = torch.get_num_threads()
        now[0] += 0.002 if count == 1 or now[0] < 0.02 else 0.001

    monkeypatch.setattr(threads.torch, "mm", multiply)
    before = torch.get_num_threads()
    try:
        assert in_a_thread(2) == (2, 2)
    finally:
        torch.set_num_threads(before)


def test_one_thread_is_all_there_is_where_no_more_are_allowed() -> None:
    before = torch.get_num_threads()
    try:
        assert in_a_thread(1) == (1, 1)
    finally:
        torch.set_num_threads(before)


def test_the_environment_bounds_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert available_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert available_threads() >= 1
