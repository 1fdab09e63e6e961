"""vLLM's process: ready only when it proves to be ours, clear words when it fails, nothing left of it.

A small server stands in for vLLM here; its health, its key check and its list of models are as vLLM's.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.serving.vllm.launch import VllmSettings
from apprentice_sidecar.serving.vllm.process import VllmProcess

_SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
MODE, given = sys.argv[1], sys.argv[2:]
if MODE == "crash":
    sys.exit("not enough memory for keys and values")
KEY = f"Bearer {os.environ['VLLM_API_KEY']}"
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        known = MODE == "open" or self.path == "/health" or self.headers["authorization"] == KEY
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": given[given.index("--served-model-name") + 1]}]}).encode())
    def log_message(self, *_):
        pass
port = int(given[given.index("--port") + 1])
if MODE != "deaf":
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
import time; time.sleep(60)
"""


def _interpreter(folder: Path, mode: str) -> str:
    """An interpreter that runs our guard as it is, and the server in place of vLLM."""
    (folder / "server.py").write_text(_SERVER)
    script = folder / "python"
    script.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = -m ]; then shift 2; exec {sys.executable} {folder}/server.py {mode} "$@"; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o700)
    return str(script)


def _settings(folder: Path, mode: str) -> VllmSettings:
    return VllmSettings(python=_interpreter(folder, mode), model="/m", port=0, api_key="")


def _processes_of(folder: Path) -> list[str]:
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(line.decode())
    return found


async def _start(folder: Path, mode: str, timeout: float = 20.0) -> VllmProcess:
    return await VllmProcess.start(_settings(folder, mode), log=folder / "logs" / "vllm.log", timeout_seconds=timeout)


def test_it_is_ready_under_a_key_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        process = await _start(tmp_path, "good")
        assert len(process.settings.api_key) == 64
        assert await process.is_healthy()
        assert not any(process.settings.api_key in line for line in _processes_of(tmp_path))
        await process.stop()
        assert process.ended.is_set()

    asyncio.run(run())
    assert _processes_of(tmp_path) == []


def test_a_failed_start_says_the_last_lines_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match=r"ended before it was ready.*\s.*not enough memory for keys") as failed:
        asyncio.run(_start(tmp_path, "crash"))
    assert failed.value.code == "serving_failed"
    assert _processes_of(tmp_path) == []


def test_a_start_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="not ready after 1 s"):
        asyncio.run(_start(tmp_path, "deaf", 1.0))
    assert _processes_of(tmp_path) == []


def test_a_server_that_answers_without_the_key_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match="answers as another server"):
        asyncio.run(_start(tmp_path, "open"))
    assert _processes_of(tmp_path) == []


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = VllmSettings(python=str(tmp_path / "none"), model="/m", port=0, api_key="")
    with pytest.raises(SidecarError, match="cannot be run: No such file"):
        asyncio.run(VllmProcess.start(settings, log=tmp_path / "vllm.log"))
