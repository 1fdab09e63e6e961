"""What a server in vLLM's dialect answers: one suite for the test server and, where there is one, for a real vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apprentice_sidecar.base_model import load_base
from test_serving_engines import MODEL, Served, needs_vllm, vllm_serving

KEY = "k" * 32


@dataclass
class Server:
    url: str
    key: str
    adapter: Path

    def ask(self, method: str, path: str, body: object = None, key: str | None = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {key or self.key}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def chat(self, model: str = "base", **more: Any) -> dict[str, Any]:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 6, "temperature": 0,
                "logprobs": True, "return_token_ids": True, **more}  # fmt: skip
        status, text = self.ask("POST", "/v1/chat/completions", body)
        assert status == 200, text
        return json.loads(text)

    def load(self, name: str, folder: Path | None = None) -> int:
        body = {"lora_name": name, "lora_path": str(folder or self.adapter)}
        return self.ask("POST", "/v1/load_lora_adapter", body)[0]

    def unload(self, name: str) -> int:
        return self.ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})[0]

    def names(self) -> set[str]:
        return {one["id"] for one in json.loads(self.ask("GET", "/v1/models")[1])["data"]}


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Server]:
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    command = [sys.executable, str(Path(__file__).with_name("vllm_dialect.py")), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "VLLM_API_KEY": KEY}, text=True)
    try:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}", KEY, folder)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until_ready(server: Server, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            if server.ask("GET", "/health")[0] == 200:
                return
        except OSError:
            pass
        assert time.monotonic() < until, "the server is not ready"
        time.sleep(0.05)


@contextmanager
def real(folder: Path) -> Iterator[Server]:
    """A real vLLM, started as the sidecar starts it."""
    base = load_base(str(MODEL))
    engine = vllm_serving(base, folder / "state")
    served = Served(base, engine, folder)
    settings = served.do(engine._supervisor.process()).settings
    yield Server(f"http://127.0.0.1:{settings.port}", settings.api_key, served.step(1))
    served.close()


@pytest.fixture(scope="module", params=["test server", pytest.param("vllm", marks=needs_vllm)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    start = real if request.param == "vllm" else started
    with start(tmp_path_factory.mktemp("dialect")) as one:
        wait_until_ready(one)
        yield one


def test_only_the_key_opens_the_api(server: Server) -> None:
    assert server.ask("GET", "/v1/models", key="another")[0] == 401
    assert server.ask("GET", "/health", key="another")[0] == 200


def test_answers_are_token_exact(server: Server) -> None:
    answer = server.chat(n=1)
    (choice,) = answer["choices"]
    assert answer["prompt_token_ids"] and all(isinstance(one, int) for one in answer["prompt_token_ids"])
    assert len(choice["token_ids"]) == answer["usage"]["completion_tokens"] <= 6
    assert len(choice["logprobs"]["content"]) == len(choice["token_ids"])
    assert all(entry["logprob"] <= 0 for entry in choice["logprobs"]["content"])
    assert answer["usage"]["prompt_tokens"] == len(answer["prompt_token_ids"])
    assert choice["finish_reason"] in ("length", "stop")


def test_a_stream_says_the_same_piece_by_piece(server: Server) -> None:
    whole = server.chat()
    body = {"model": "base", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 6, "temperature": 0,
            "logprobs": True, "return_token_ids": True, "stream": True}  # fmt: skip
    _, text = server.ask("POST", "/v1/chat/completions", body)
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    assert not any(chunk.get("prompt_token_ids") for chunk in chunks[1:])
    ids = [token for chunk in chunks for choice in chunk["choices"] for token in choice.get("token_ids") or []]
    assert ids == whole["choices"][0]["token_ids"]


def test_an_adapter_is_loaded_once_listed_with_its_folder_and_unloaded(server: Server) -> None:
    assert server.load("t@1") == 200
    assert server.load("t@1") == 400
    listed = {one["id"]: one for one in json.loads(server.ask("GET", "/v1/models")[1])["data"]}
    assert (listed["t@1"]["root"], listed["t@1"]["parent"]) == (str(server.adapter), "base")
    assert server.chat("t@1")["model"] == "t@1"
    assert server.unload("t@1") == 200
    assert server.unload("t@1") == 404
    assert "t@1" not in server.names()


def test_what_is_not_there_is_refused(server: Server, tmp_path: Path) -> None:
    assert server.load("t@9", tmp_path / "nothing") == 404
    status, text = server.ask(
        "POST", "/v1/chat/completions", {"model": "t@9", "messages": [{"role": "user", "content": "a"}]}
    )
    assert status == 404
    assert "t@9" in json.loads(text)["error"]["message"]


def test_the_logprob_of_the_only_token_that_may_be_sampled_is_told(server: Server) -> None:
    body = {"model": "base", "prompt": [5, 6], "max_tokens": 1, "temperature": 0, "logprobs": 0,
            "allowed_token_ids": [7]}  # fmt: skip
    status, text = server.ask("POST", "/v1/completions", body)
    assert status == 200
    (logprob,) = json.loads(text)["choices"][0]["logprobs"]["token_logprobs"]
    assert logprob < 0


def test_messages_are_tokenized_as_they_are_prompted(server: Server) -> None:
    _, text = server.ask("POST", "/tokenize", {"model": "base", "messages": [{"role": "user", "content": "hello"}]})
    assert json.loads(text)["tokens"] == server.chat()["prompt_token_ids"]
    assert json.loads(text)["count"] == len(json.loads(text)["tokens"])


def test_the_prefix_cache_can_be_emptied(server: Server) -> None:
    assert json.loads(server.ask("POST", "/reset_prefix_cache")[1]) == {"success": True}


def test_pausing_is_told_and_ends(server: Server) -> None:
    assert server.ask("POST", "/pause?mode=keep")[0] == 200
    assert json.loads(server.ask("GET", "/is_paused")[1]) == {"is_paused": True}
    assert server.ask("POST", "/resume")[0] == 200
    assert json.loads(server.ask("GET", "/is_paused")[1]) == {"is_paused": False}
    server.chat()


def test_faults_happen_as_often_as_they_were_asked_for(tmp_path: Path) -> None:
    with started(tmp_path) as server:
        wait_until_ready(server)
        server.ask("POST", "/test/faults", {"refuse_load": 2, "stuck_sleep": 1, "lose_adapters": 1})
        assert [server.load("t@1") for _ in range(3)] == [409, 409, 200]
        sleeping = []
        for _ in range(2):
            server.ask("POST", "/sleep?level=1")
            sleeping.append(json.loads(server.ask("GET", "/is_sleeping")[1])["is_sleeping"])
        assert sleeping == [False, True]
        server.ask("POST", "/wake_up")
        assert server.names() == {"base"}


def test_a_load_reaches_one_replica_only(tmp_path: Path) -> None:
    with started(tmp_path, "--replicas", "2") as server:
        wait_until_ready(server)
        assert server.load("t@1") == 200
        assert sorted("t@1" in server.names() for _ in range(2)) == [False, True]


def test_a_slow_boot_answers_nobody_until_it_is_over(tmp_path: Path) -> None:
    began = time.monotonic()
    with started(tmp_path, "--boot-seconds", "1") as server:
        wait_until_ready(server)
        assert time.monotonic() - began > 1
