"""`python python-sidecar/gpu-check --out gpu-check.json`: what this package does on this machine's GPU, in one file.

Parity with the CPU, training speed and memory, swap time, and whether anything is left behind. Needs an environment
made from requirements/cpu.txt or cuda-train.txt; `npm run gpu-check` makes it. Exit codes: 0 all is well, 1 a check
failed, 3 there is no such device.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))
TINY_MODEL = HERE.parent / "tiny-model" / "model"
NO_DEVICE = 3
PACKAGES = ("torch", "transformers", "peft", "torchtune", "unsloth", "vllm", "accelerate", "safetensors")


def main() -> int:
    """Runs what can be run here; the exit code."""
    options = _options()
    import torch

    from apprentice_sidecar.base_model import check_device
    from apprentice_sidecar.errors import SidecarError

    try:
        check_device(options.device)
    except SidecarError as error:
        report = {"device": options.device, "status": "no device", "reason": error.message, "fix": error.fix}
        _write(options.out, report)
        print(f"{error.message} {error.fix}", file=sys.stderr)
        return NO_DEVICE
    if options.only == "unsloth":
        from parity import unsloth_parity

        _write(options.out, unsloth_parity(TINY_MODEL, options.device))
        return 0
    from parity import device_parity
    from server import check_server
    from speed import measure
    from vllm_server import check_vllm

    dtype = options.dtype or ("bfloat16" if options.device != "cpu" else "float32")
    _say(f"on {_device_name(torch, options.device)}, {dtype}")
    report: dict[str, Any] = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": options.device,
        "device_name": _device_name(torch, options.device),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "versions": _versions(),
    }
    _say("parity with the CPU")
    report["parity"] = device_parity(options.device)
    _say("our server: answer, swap, orphan")
    report["server"] = check_server(TINY_MODEL, options.device, dtype)
    report["training"] = []
    for shape in options.shape.split(","):
        _say(f"training speed of {shape}")
        report["training"] += measure(shape, options.device, dtype)
    _say("Unsloth")
    report["unsloth"] = _unsloth(options)
    _say("vLLM")
    report["vllm"] = check_vllm(options.vllm_python, TINY_MODEL, dtype)
    checks = [*report["parity"].values(), report["server"], *report["training"], report["unsloth"], report["vllm"]]
    failed = any(check["status"] == "failed" for check in checks)
    report["status"] = "failed" if failed else "ok"
    _write(options.out, report)
    print(table(report))
    return 1 if failed else 0


def table(report: dict[str, Any]) -> str:
    """The training figures as Markdown, for docs/benchmarks.md."""
    lines = ["| shape | length | tokens/s | peak memory, GiB | swap, s |", "| --- | ---: | ---: | ---: | ---: |"]
    for entry in report["training"]:
        figures = f"{entry['status']} | |"
        if entry["status"] == "ok":
            memory = entry["peak_memory_bytes"] / 2**30
            figures = f"{entry['tokens_per_second']:.0f} | {memory:.1f} | {entry['swap_seconds']:.2f}"
        lines.append(f"| {entry['shape']} | {entry['length']} | {figures} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1; cpu runs the same small, for tests")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default=None)
    parser.add_argument("--shape", default="0.6b,4b", help="of tiny, 0.6b, 4b, with commas between")
    parser.add_argument("--out", type=Path, default=Path("gpu-check.json"))
    parser.add_argument("--unsloth-python", default=sys.executable, help="of an environment that has Unsloth")
    parser.add_argument("--vllm-python", default=sys.executable, help="of an environment that has vLLM")
    parser.add_argument("--only", choices=["unsloth"], default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.shape.split(",")) - {"tiny", "0.6b", "4b"}
    if unknown:
        parser.error(f"--shape must be of tiny, 0.6b, 4b, not {', '.join(sorted(unknown))}")
    return options


def _unsloth(options: argparse.Namespace) -> dict[str, Any]:
    """In a process of its own: Unsloth patches transformers."""
    out = options.out.with_suffix(".unsloth.json")
    command = [options.unsloth_python, str(HERE), "--only", "unsloth", "--device", options.device, "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if not out.exists():
        return {"status": "failed", "parity": False, "reason": run.stderr[-2000:]}
    result: dict[str, Any] = json.loads(out.read_text())
    out.unlink()
    return result


def _device_name(torch: Any, device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or "CPU"


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def _say(text: str) -> None:
    print(f"  · {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
