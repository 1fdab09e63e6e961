"""What is freed stays with the process until it is handed back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apprentice_sidecar.allocation import _glibc  # pyright: ignore[reportPrivateUsage] -- tells whether there is one

pytestmark = pytest.mark.skipif(_glibc() is None, reason="the C library is not glibc")

#: Prints how much larger the process is with 80 MB, once they are freed, and once they are handed back.
PROGRAM = """
import os
import sys
from apprentice_sidecar.allocation import hand_back_freed_memory, keep_freed_memory

def megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

if sys.argv[1] == "keep":
    keep_freed_memory()
before = megabytes()
held = [bytearray(b"x") * 20_000_000 for _ in range(4)]
sizes = [megabytes() - before]
del held
sizes.append(megabytes() - before)
hand_back_freed_memory()
sizes.append(megabytes() - before)
print(*sizes)
"""


def sizes(how: str) -> list[float]:
    """The three sizes, in megabytes."""
    printed = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True)
    return [float(size) for size in printed.stdout.split()]


def test_freed_memory_is_kept_until_it_is_handed_back() -> None:
    held, freed, handed_back = sizes("keep")
    assert held > 75
    assert freed > 75
    assert handed_back < 10


def test_without_it_the_system_has_it_at_once() -> None:
    held, freed, _ = sizes("as it comes")
    assert held > 75
    assert freed < 10
