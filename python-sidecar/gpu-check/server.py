"""Our server on the device, as a process: an answer, a trained step swapped in, and no orphan when its owner dies."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "src"
START_SECONDS = 300
GONE_SECONDS = 15

#: Starts the sidecar as its owner does, says its pid, and waits to be killed.
_OWNER = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=sys.stdout, start_new_session=True)
time.sleep(3600)
"""


def check_server(folder: Path, device: str, dtype: str) -> dict[str, Any]:
    """Serves the model of `folder`, trains one step, swaps it in, kills the owner."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "apprentice_sidecar", "--model", str(folder), "--device", device,
               "--dtype", dtype]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "APPRENTICE_SIDECAR_TOKEN": token}
    started = time.monotonic()
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, *command], env=environment, stdout=subprocess.PIPE)
    try:
        ready = _wait_until_ready(owner)
        begun = time.monotonic() - started
        client = _Client(ready["port"], token)
        with tempfile.TemporaryDirectory() as adapters:
            base, answer_seconds = _timed(lambda: client.chat("base"))
            client.train(Path(adapters) / "1")
            published, swap = _timed(lambda: client.publish("check@1", Path(adapters) / "1"))
            adapted = client.chat("check@1")
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    gone = _gone_within(ready["pid"], GONE_SECONDS)
    passed = gone is not None and len(base) > 0 and len(adapted) > 0
    return {
        "status": "ok" if passed else "failed",
        "start_seconds": begun,
        "answer_seconds": answer_seconds,
        "swap_seconds": swap,
        "canary": published["canary"],
        "orphan_gone_seconds": gone,
    }


def _wait_until_ready(owner: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    assert owner.stdout is not None
    for line in owner.stdout:
        try:
            event: Any = json.loads(line)
        except ValueError:
            continue  # other libraries print, too
        if event.get("event") == "ready":
            return event
        if event.get("event") == "failed" or time.monotonic() > deadline:
            raise RuntimeError(f"the sidecar did not start: {event}")
    raise RuntimeError("the sidecar ended before it was ready")


class _Client:
    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._token = token

    def chat(self, model: str) -> list[int]:
        """Token ids of a short answer."""
        messages = [{"role": "user", "content": "hello"}]
        body = {"model": model, "messages": messages, "max_tokens": 16, "logprobs": True, "return_token_ids": True}
        return self._post("/v1/chat/completions", body)["choices"][0]["token_ids"]

    def train(self, folder: Path) -> None:
        """One gradient step on made-up tokens; waits for its end."""
        row = {"row_id": "r", "group_id": "g", "token_ids": list(range(1, 33)), "positions": list(range(16, 32)),
               "logprobs": [None] * 16, "advantages": [1.0] * 16, "weights": [1.0] * 16}  # fmt: skip
        adapter = {"name": "check", "step": 1, "parent": None, "folder": str(folder)}
        job = {"job_id": "check", "adapter": adapter, "rows": [row], "optimizer": {"learning_rate": 1e-3}}
        self._post("/training/jobs", job)
        for _ in range(600):
            status = self._get("/training/jobs/check")
            if status["status"] == "ended":
                return
            if status["status"] != "running":
                raise RuntimeError(f"the job did not end well: {status['events'][-1]}")
            time.sleep(0.1)
        raise RuntimeError("the job did not end within a minute")

    def publish(self, name: str, folder: Path) -> dict[str, Any]:
        """Loads a step and gives the canary's report."""
        return self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._send(urllib.request.Request(self._url + path, data=json.dumps(body).encode(), method="POST"))

    def _get(self, path: str) -> Any:
        return self._send(urllib.request.Request(self._url + path))

    def _send(self, request: urllib.request.Request) -> Any:
        request.add_header("authorization", f"Bearer {self._token}")
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)


def _timed(work: Any) -> tuple[Any, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started


def _gone_within(pid: int, seconds: float) -> float | None:
    """How long a process went on after its owner's end; None where it still runs."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return time.monotonic() - started
        if _is_zombie(pid):
            return time.monotonic() - started
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return None


def _is_zombie(pid: int) -> bool:
    """Dead, but not yet waited for by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return False
