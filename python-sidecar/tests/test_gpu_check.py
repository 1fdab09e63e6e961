"""gpu-check, run small on the CPU: the same path that a GPU machine takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PROGRAM = Path(__file__).parents[1] / "gpu-check"


def run(out: Path, *given: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, str(PROGRAM), "--out", str(out), *given]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    report = json.loads(out.read_text()) if out.exists() else {}
    return ended.returncode, report, ended.stdout + ended.stderr


def test_the_whole_check_on_the_cpu(tmp_path: Path) -> None:
    code, report, said = run(tmp_path / "out.json", "--device", "cpu", "--shape", "tiny")
    assert code == 0, said
    assert report["status"] == "ok"
    assert report["parity"]["transformers"]["status"] == "ok"
    assert report["parity"]["transformers"]["float32"]["logprob_max"] <= 1e-3
    assert report["server"]["orphan_gone_seconds"] < 15
    assert report["server"]["swap_seconds"] > 0
    assert [entry["length"] for entry in report["training"]] == [128, 512]
    assert all(entry["tokens_per_second"] > 0 and entry["peak_memory_bytes"] > 0 for entry in report["training"])
    assert report["unsloth"]["status"] == "unavailable"
    assert report["vllm"]["status"] == "unavailable"
    assert "| tiny | 512 |" in said
    assert "torch" in report["versions"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_with_a_code_of_its_own(tmp_path: Path) -> None:
    code, report, said = run(tmp_path / "out.json")
    assert code == 3
    assert report["status"] == "no device"
    assert "sees no CUDA device" in said


def test_an_unknown_shape_is_refused(tmp_path: Path) -> None:
    code, _, said = run(tmp_path / "out.json", "--shape", "tiny,9b")
    assert code == 2
    assert "not 9b" in said
