"""What a process has set before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys
import apprentice_sidecar.__main__
from apprentice_sidecar.prepare import prepare_process

assert "torch" not in sys.modules
prepare_process()
print(os.environ["OMP_WAIT_POLICY"], os.environ["THP_MEM_ALLOC_ENABLE"])
"""


def settings(**given: str) -> list[str]:
    """Both settings, in a process that is started with those given."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE")
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=inherited | given, check=True, capture_output=True, text=True
    )
    return run.stdout.split()


def test_threads_sleep_and_large_tensors_ask_for_huge_pages() -> None:
    assert settings() == ["PASSIVE", "1"]


def test_what_the_user_has_set_stays() -> None:
    assert settings(OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE", "1"]
