"""A real vLLM on a CPU dies, is stopped, is too small: what is served comes back, and nothing outlives the sidecar."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from apprentice_sidecar.base_model import load_base
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import ChatRequest
from apprentice_sidecar.serving.vllm.engine import VllmServing
from test_serving_engines import MODEL, Served, chat_request, needs_vllm, vllm_serving

pytestmark = needs_vllm


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, base = tmp_path_factory.mktemp("vllm"), load_base(str(MODEL))
    one = Served(base, vllm_serving(base, folder / "state"), folder)
    one.do(one.engine.publish("t@1", one.step(1)))
    yield one
    session = _session(_serving(one)["pid"])
    assert session
    one.close()
    assert [pid for pid in session if _runs(pid)] == []


def _serving(served: Served) -> dict[str, Any]:
    return served.engine.health()["serving"]


def _restarts_after(served: Served, before: int, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while _serving(served)["restarts"] == before or _serving(served)["state"] != "ready":
        assert time.monotonic() < until, "vLLM was not started again"
        time.sleep(0.2)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _runs(pid: int) -> bool:
    return (_stat(pid) or ["Z"])[0] != "Z"


def _session(guard: int) -> list[int]:
    """vLLM's own processes: the session of the guard's child."""
    every = {int(entry.name): _stat(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")}
    leaders = [pid for pid, fields in every.items() if fields and fields[1] == str(guard)]
    return [pid for pid, fields in every.items() if fields and int(fields[3]) in leaders]


def test_a_core_that_is_killed_ends_streams_with_an_error_and_comes_back(served: Served) -> None:
    before, session = _serving(served), _session(_serving(served)["pid"])

    async def work() -> None:
        exchange = await served.engine.begin(_long())
        events = exchange.events()
        await anext(events)
        for pid in session:
            os.kill(pid, signal.SIGKILL)
        async for _ in events:
            pass

    with pytest.raises(SidecarError) as failed:
        served.do(work())
    assert failed.value.code == "engine_failed"
    _restarts_after(served, before["restarts"])
    assert served.chat("t@1")["model"] == "t@1"
    assert not any(_runs(pid) for pid in session)


def test_a_guard_that_is_killed_takes_vllm_with_it(served: Served) -> None:
    before, session = _serving(served), _session(_serving(served)["pid"])
    assert session
    os.kill(before["pid"], signal.SIGKILL)
    _restarts_after(served, before["restarts"])
    assert not any(_runs(pid) for pid in session)
    assert served.chat("t@1")["model"] == "t@1"


def test_a_larger_rank_is_published_after_a_restart(served: Served) -> None:
    before = _serving(served)["restarts"]
    one = served.do(served.engine.publish("t@5", served.step(5, rank=16)))
    assert one.canary["max_gap"] < 1e-3
    assert _serving(served)["restarts"] == before + 1
    assert served.chat("t@1")["model"] == "t@1"


def test_its_api_is_closed_without_the_key(served: Served) -> None:
    engine = served.engine
    assert isinstance(engine, VllmServing)
    url = str(served.do(engine._supervisor.process()).client.base_url)
    assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 401


def _long() -> ChatRequest:
    return chat_request("t@1", stream=True, max_tokens=900, temperature=2.0, n=8)
