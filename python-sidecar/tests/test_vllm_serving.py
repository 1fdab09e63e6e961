"""vLLM behind the contract: nothing is given out unverified, nothing is lost by a crash, a hand-over or a full memory.

A server in vLLM's dialect stands in here, for what a real one cannot be made to do; `test_vllm_real.py` has a real one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from apprentice_sidecar import marks
from apprentice_sidecar.checkpoints import write_adapter
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import ChatRequest, TokenizeRequest, parse
from apprentice_sidecar.serving.vllm.engine import VllmServing
from apprentice_sidecar.serving.vllm.launch import VllmSettings
from apprentice_sidecar.serving.vllm.supervisor import Patience
from tiny import tiny_base

QUICK = Patience(pauses=(0.01, 0.02, 0.04), look_seconds=0.05, looks=3, wait_seconds=10.0, word_seconds=0.2)
CANARY = {"token_ids": [5, 6, 7, 8], "first": 2, "logprobs": [-0.25, -0.5]}


class Server:
    """The engine under test, and the hands on the server behind it."""

    def __init__(self, engine: VllmServing, folder: Path, said: list[str]) -> None:
        self.engine = engine
        self.folder = folder
        self.said = said

    async def behind(self, method: str, path: str, body: object = None) -> Any:
        """Asks the server itself."""
        process = await self.engine._supervisor.process()
        answer = await process.client.request(method, path, json=body)
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None

    async def faults(self, **faults: int | bool) -> None:
        await self.behind("POST", "/test/faults", faults)

    async def crash(self) -> None:
        with pytest.raises(httpx.HTTPError):
            await self.behind("POST", "/test/crash")

    async def names(self) -> set[str]:
        return {one["id"] for one in (await self.behind("GET", "/v1/models"))["data"]}

    async def publish(self, step: int, **more: Any) -> None:
        await self.engine.publish(f"t@{step}", self.adapter(step, **more))

    def adapter(self, step: int, *, rank: int = 8, seed: int | None = None) -> Path:
        folder = self.folder / "adapters" / f"{step}-{seed}-{rank}"
        if not folder.exists():
            tensors = {"a": torch.full((2, 2), float(step if seed is None else seed))}
            manifest = {"name": "t", "step": step, "base_digest": "sha256:0", "canary": CANARY}
            write_adapter(folder, config={"r": rank}, tensors=tensors, optimizer={}, manifest=manifest)
        return folder

    async def chat(self, model: str = "base", **more: Any) -> dict[str, Any]:
        return await (await self.engine.begin(request(model, **more))).answer()


def request(model: str, **more: Any) -> ChatRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    return parse(ChatRequest, body | {"logprobs": True, "return_token_ids": True} | more)


def interpreter(folder: Path, *arguments: str) -> str:
    """Runs our guard as it is, and the server in place of vLLM, unless there is a file `broken`."""
    script = folder / "python"
    server = Path(__file__).with_name("vllm_dialect.py")
    script.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = -m ]; then shift 2; test -e {folder}/broken && exit 3\n'
        f'exec {sys.executable} {server} {" ".join(arguments)} "$@"; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    script.chmod(0o700)
    return str(script)


@asynccontextmanager
async def serving(folder: Path, *arguments: str, patience: Patience = QUICK, **settings: Any) -> AsyncIterator[Server]:
    given = VllmSettings(python=interpreter(folder, *arguments), model="/m", port=0, api_key="", **settings)
    said: list[str] = []
    engine = VllmServing(tiny_base(), given, folder / "state", say=said.append, patience=patience)
    await engine.start()
    try:
        yield Server(engine, folder, said)
    finally:
        await engine.close()
    assert not list((folder / "state").glob("vllm-*.json"))


def run(folder: Path, test: Callable[[Server], Awaitable[None]], *arguments: str, **settings: Any) -> None:
    async def work() -> None:
        async with serving(folder, *arguments, **settings) as server:
            await asyncio.wait_for(test(server), 60)

    asyncio.run(work())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


def test_a_step_is_published_with_its_canary_and_answers_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[str] = []
    monkeypatch.setattr(marks, "_observers", [passed.append])

    async def test(server: Server) -> None:
        served = await server.engine.publish("t@1", server.adapter(1))
        assert served.canary == {"tokens": 2.0, "mean_gap": 0.0, "max_gap": 0.0, "base_gap": 0.625}
        assert [one.name for one in server.engine.published] == ["t@1"]
        assert await server.engine.publish("t@1", server.adapter(1)) is served
        ours, base = await server.chat("t@1"), await server.chat()
        assert ours["choices"][0]["token_ids"] != base["choices"][0]["token_ids"]
        ids = await server.engine.tokenize(parse(TokenizeRequest, {"messages": [{"role": "user", "content": "hello"}]}))
        assert ids == ours["prompt_token_ids"]
        with pytest.raises(SidecarError, match="with other weights"):
            await server.publish(1, seed=9)
        await server.engine.retire("t@1")
        assert await server.names() == {"base"}
        with pytest.raises(SidecarError, match="'t@1' is not served"):
            await server.chat("t@1")
        with pytest.raises(SidecarError, match="t@1 is not served"):
            await server.engine.retire("t@1")

    run(tmp_path, test)
    made = ["checkpoint-written", "checkpoint-renamed"]
    assert [one for one in passed if one not in made] == [
        "publish-read", "publish-loaded", "publish-verified", "published", "answering", "answering", "retiring"
    ]  # fmt: skip


def test_a_step_that_does_nothing_is_refused_and_its_name_stays_free(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        await server.faults(wrong_logprobs=1)
        with pytest.raises(SidecarError) as refused:
            await server.publish(2)
        assert refused.value.code == "adapter_canary_failed"
        assert await server.names() == {"base", "t@1"}
        assert [one.name for one in server.engine.published] == ["t@1"]
        await server.publish(2, seed=7)
        assert await server.names() == {"base", "t@1", "t@2"}

    run(tmp_path, test)


def test_of_two_that_publish_other_weights_under_a_name_at_once_one_is_refused(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        results = await asyncio.gather(server.publish(1), server.publish(1, seed=9), return_exceptions=True)
        (refused,) = [one for one in results if one is not None]
        assert isinstance(refused, SidecarError) and refused.code == "adapter_name_taken"
        assert len(server.engine.published) == 1

    run(tmp_path, test)


def test_a_load_that_meets_a_dead_engine_may_be_sent_again(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.faults(dead=True)
        with pytest.raises(SidecarError) as failed:
            await server.publish(1)
        assert (failed.value.code, failed.value.http_status) == ("engine_failed", 503)

    run(tmp_path, test, patience=Patience(pauses=(0.01,), look_seconds=2.0))


def test_a_load_is_tried_again_while_the_engine_is_busy(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.faults(refuse_load=3)
        await server.publish(1)
        assert "t@1" in await server.names()

    run(tmp_path, test)


def test_a_step_is_published_once_every_replica_lists_it(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        assert all(["t@1" in await server.names() for _ in range(6)])
        assert all([(await server.chat("t@1"))["model"] == "t@1" for _ in range(6)])
        await server.engine.retire("t@1")
        assert not any(["t@1" in await server.names() for _ in range(6)])

    run(tmp_path, test, "--replicas", "3")


def test_a_name_that_somebody_else_loaded_is_not_taken_for_ours(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        body = {"lora_name": "t@1", "lora_path": str(server.adapter(1, seed=5))}
        await server.behind("POST", "/v1/load_lora_adapter", body)
        with pytest.raises(SidecarError) as refused:
            await server.publish(1)
        assert refused.value.code == "adapter_name_taken"
        assert server.engine.published == []

    run(tmp_path, test)


def test_more_steps_than_vllm_keeps_are_served_all_the_same(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        for step in (1, 2):
            await server.publish(step)
        await server.behind("POST", "/pause")
        busy = asyncio.create_task(server.chat("t@1"))
        await until(lambda: server.engine.load().running == 1)
        await server.behind("POST", "/resume")
        await busy
        await server.publish(3)
        assert await server.names() == {"base", "t@1", "t@3"}
        assert {one.name for one in server.engine.published} == {"t@1", "t@2", "t@3"}
        assert (await server.chat("t@2"))["model"] == "t@2"
        assert await server.names() == {"base", "t@2", "t@3"}

    run(tmp_path, test, max_cpu_loras=2)


def test_a_step_with_requests_in_flight_is_never_put_out(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        for step in (1, 2):
            await server.publish(step)
        held = [await server.engine.begin(request(f"t@{step}", stream=True)) for step in (1, 2)]
        await server.publish(3)
        assert await server.names() == {"base", "t@1", "t@2", "t@3"}
        for one in held:
            assert [event async for event in one.events()][-1] == "data: [DONE]\n\n"
        assert server.engine.load().running == 0

    run(tmp_path, test, max_cpu_loras=2)


def test_a_retired_step_finishes_what_it_is_answering(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        held = await server.engine.begin(request("t@1", stream=True))
        await server.engine.retire("t@1")
        assert server.engine.published == []
        assert "t@1" in await server.names()
        with pytest.raises(SidecarError, match="is being unloaded"):
            await server.publish(1)
        held.cancel()
        await until(lambda: not server.engine._adapters.published)
        await server.publish(1)

    run(tmp_path, test)


def test_a_crash_answers_what_was_in_flight_and_brings_the_steps_back(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        await server.publish(2)
        before = server.engine.health()["serving"]
        await server.behind("POST", "/pause")
        plain = asyncio.create_task(server.chat("t@1"))
        await until(lambda: server.engine.load().running == 1)
        await server.crash()
        with pytest.raises(SidecarError) as failed:
            await plain
        assert (failed.value.code, failed.value.http_status) == ("engine_failed", 503)
        await until(lambda: server.engine.health()["serving"]["state"] == "restarting")
        assert (await server.chat("t@2"))["model"] == "t@2"
        after = server.engine.health()["serving"]
        assert (before["restarts"], after["restarts"], after["state"]) == (0, 1, "ready")
        assert after["pid"] != before["pid"]
        assert await server.names() == {"base", "t@1", "t@2"}

    run(tmp_path, test)


def test_a_vllm_that_does_not_answer_any_more_is_started_anew(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        await server.faults(dead=True)
        await until(lambda: server.engine.health()["serving"]["restarts"] == 1)
        assert (await server.chat("t@1"))["model"] == "t@1"

    run(tmp_path, test)


def test_a_step_that_was_changed_on_disk_does_not_come_back(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        await server.publish(2)
        (server.adapter(1) / "adapter_model.safetensors").write_bytes(b"other")
        await server.crash()
        await until(lambda: server.engine.health()["serving"]["restarts"] == 1)
        await server.chat("t@2")
        assert [one.name for one in server.engine.published] == ["t@2"]

    run(tmp_path, test)


def test_nobody_waits_for_one_that_ends_again_and_again_and_it_is_tried_again(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        (tmp_path / "broken").touch()
        await server.crash()
        await until(lambda: server.engine.health()["serving"]["state"] == "restarting")
        with pytest.raises(SidecarError) as lost:
            await server.chat()
        assert lost.value.code == "serving_lost"
        assert server.engine.health()["serving"] == {"state": "lost", "restarts": 0, "pid": None}
        (tmp_path / "broken").unlink()
        await until(lambda: server.engine.health()["serving"]["state"] == "ready")
        assert (await server.chat())["model"] == "base"

    run(tmp_path, test)


def test_a_request_waits_for_a_restart_and_not_for_ever(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        (tmp_path / "broken").touch()
        await server.crash()
        await until(lambda: server.engine.health()["serving"]["state"] == "restarting")
        with pytest.raises(SidecarError) as waited:
            await server.chat()
        assert waited.value.code == "serving_restarting"
        (tmp_path / "broken").unlink()
        await until(lambda: server.engine.health()["serving"]["state"] == "ready")
        assert (await server.chat())["model"] == "base"

    run(tmp_path, test, patience=Patience(pauses=(0.01, 1.0, 1.0), look_seconds=0.05, wait_seconds=0.2))


def test_a_step_that_is_retired_during_a_restart_does_not_come_back(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        await server.publish(2)
        (tmp_path / "broken").touch()
        await server.crash()
        await until(lambda: server.engine.health()["serving"]["state"] == "restarting")
        await server.engine.retire("t@1")
        (tmp_path / "broken").unlink()
        await server.chat("t@2")
        assert await server.names() == {"base", "t@2"}

    run(tmp_path, test, patience=Patience(pauses=(0.01, 0.5, 0.5), look_seconds=0.05))


def test_a_slow_boot_is_told_about(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        assert len(server.said) >= 3
        assert all(one.startswith("starting vLLM") for one in server.said)

    run(tmp_path, test, "--boot-seconds", "1")


def test_a_larger_rank_than_the_buffers_starts_vllm_anew(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        await server.publish(2, rank=20)
        assert server.engine.health()["serving"]["restarts"] == 1
        assert server.engine._supervisor.settings.max_lora_rank == 32
        assert await server.names() == {"base", "t@1", "t@2"}

    run(tmp_path, test)


def test_an_abandoned_answer_gives_back_what_it_held(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.behind("POST", "/pause")
        waiting = asyncio.create_task(server.chat())
        await until(lambda: server.engine.load().running == 1)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert server.engine.load().running == 0

    run(tmp_path, test)
