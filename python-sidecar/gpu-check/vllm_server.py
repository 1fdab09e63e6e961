"""vLLM where it is installed: how fast it is up, whether it serves our adapter, and whether anything outlives it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from apprentice_sidecar.base_model import load_base
from apprentice_sidecar.checkpoints import read_adapter
from apprentice_sidecar.protocol import TrainingJobRequest, parse
from apprentice_sidecar.training.trainer import run_job

START_SECONDS = 600
GONE_SECONDS = 20
#: Largest mean gap in nats between what vLLM serves and what the trainer computed, by precision.
BOUNDS = {"float32": 1e-3, "bfloat16": 0.05}


def check_vllm(python: str, folder: Path, dtype: str) -> dict[str, Any]:
    """Starts vLLM on the model of `folder`, loads a step that was trained here, compares logprobs, kills its group."""
    probe = subprocess.run([python, "-c", "import vllm; print(vllm.__version__)"], capture_output=True, text=True,
                           check=False)  # fmt: skip
    if probe.returncode != 0:
        return {"status": "unavailable", "reason": (probe.stderr.strip().splitlines() or ["no such interpreter"])[-1]}
    with tempfile.TemporaryDirectory() as adapters, tempfile.TemporaryFile() as log:
        target = Path(adapters) / "1"
        base = load_base(str(folder), dtype=dtype)
        list(run_job(base, _request(target), "sha256:check", lambda: False))
        canary = read_adapter(target, expect_base_digest=base.digest).manifest["canary"]
        port, token = _free_port(), secrets.token_hex(16)
        process = subprocess.Popen(
            _command(python, folder, dtype, port), env=_environment(token), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        client = _Client(port, token)
        try:
            started = time.monotonic()
            client.wait_until_ready(process)
            ready = time.monotonic() - started
            members = _group(process.pid)
            started = time.monotonic()
            client.post("/v1/load_lora_adapter", {"lora_name": "check@1", "lora_path": str(target)})
            load = time.monotonic() - started
            gap = _mean_gap(client, "check@1", canary)
            base_gap = _mean_gap(client, "base", canary)
        except (RuntimeError, urllib.error.URLError) as error:
            log.seek(0)
            return {"status": "failed", "reason": str(error), "log": log.read()[-3000:].decode(errors="replace")}
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        left = _left_after(members, GONE_SECONDS)
    passed = gap <= BOUNDS[dtype] and gap < base_gap and not left
    return {
        "status": "ok" if passed else "failed",
        "version": probe.stdout.strip().splitlines()[-1],
        "ready_seconds": ready,
        "load_seconds": load,
        "mean_gap": gap,
        "base_gap": base_gap,
        "bound": BOUNDS[dtype],
        "processes": len(members),
        "left": left,
    }


def _command(python: str, folder: Path, dtype: str, port: int) -> list[str]:
    return [
        python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "base",
        "--enable-lora", "--max-lora-rank", "16", "--max-loras", "2", "--dtype", dtype, "--max-model-len", "512",
        "--enforce-eager", "--host", "127.0.0.1", "--port", str(port), "--generation-config", "vllm",
    ]  # fmt: skip


def _environment(token: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "VLLM_API_KEY": token, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind"}  # fmt: skip


def _request(folder: Path) -> TrainingJobRequest:
    row = {"row_id": "r", "group_id": "g", "token_ids": list(range(1, 65)), "positions": list(range(32, 64)),
           "logprobs": [None] * 32, "advantages": [1.0] * 32, "weights": [1.0] * 32}  # fmt: skip
    adapter = {"name": "check", "step": 1, "parent": None, "folder": str(folder)}
    body = {"job_id": "check", "adapter": adapter, "rows": [row], "optimizer": {"learning_rate": 1e-2}}
    return parse(TrainingJobRequest, body)


def _mean_gap(client: _Client, model: str, canary: dict[str, Any]) -> float:
    ids, first = canary["token_ids"], canary["first"]
    answer = client.post("/v1/completions", {"model": model, "prompt": ids, "max_tokens": 1, "prompt_logprobs": 0})
    entries = answer["choices"][0]["prompt_logprobs"][first:]
    served = [entry[str(token)]["logprob"] for entry, token in zip(entries, ids[first:], strict=True)]
    return sum(abs(one - other) for one, other in zip(served, canary["logprobs"], strict=True)) / len(served)


class _Client:
    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._token = token

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Until /health answers. Raises RuntimeError where vLLM ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"vLLM ended with {process.returncode}")
            try:
                urllib.request.urlopen(f"{self._url}/health", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        raise RuntimeError(f"vLLM was not ready after {START_SECONDS} s")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer, parsed where it is JSON."""
        request = urllib.request.Request(self._url + path, data=json.dumps(body).encode(), method="POST")
        request.add_header("authorization", f"Bearer {self._token}")
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as response:
            text = response.read().decode()
        return json.loads(text) if text.startswith("{") else text


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _group(leader: int) -> list[int]:
    """Processes of the leader's session: vLLM's own, its engine's and workers'."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields and int(fields[3]) == leader:
                found.append(int(entry.name))
    return found


def _left_after(pids: list[int], seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    left = pids
    while left and time.monotonic() < deadline:
        # A zombie is dead; whoever inherited it has not looked yet.
        left = [pid for pid in left if (_stat(pid) or ["Z"])[0] != "Z"]
        time.sleep(0.1)
    return left


def _stat(pid: int) -> list[str]:
    """State, parent, group, session and so on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []
