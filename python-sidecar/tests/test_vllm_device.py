"""vLLM hands its device to a training job and takes it back, whatever goes wrong in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from apprentice_sidecar.errors import SidecarError
from test_vllm_serving import Server, run


def in_a_job(server: Server, work: Callable[[], None]) -> asyncio.Task[None]:
    """Does `work` while the device is lent, in a thread as a job's."""

    def job() -> None:
        with server.engine.lend_device():
            work()

    return asyncio.create_task(asyncio.to_thread(job))


@pytest.mark.parametrize("fails", [False, True])
def test_on_a_cpu_requests_stop_while_a_job_trains(tmp_path: Path, fails: bool) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        loop, seen = asyncio.get_running_loop(), []

        def work() -> None:
            seen.append(asyncio.run_coroutine_threadsafe(server.behind("GET", "/is_paused"), loop).result())
            if fails:
                raise RuntimeError("out of memory")

        job = in_a_job(server, work)
        await asyncio.wait({job})
        assert (job.exception() is not None) is fails
        assert seen == [{"is_paused": True}]
        assert await server.behind("GET", "/is_paused") == {"is_paused": False}
        assert (await server.chat("t@1"))["model"] == "t@1"

    run(tmp_path, test)


@pytest.mark.parametrize("faults", [{}, {"lose_adapters": 1}, {"stuck_wake": 1, "lose_adapters": 1}])
def test_on_a_gpu_it_sleeps_while_a_job_trains_and_wakes_with_its_steps(
    tmp_path: Path, faults: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apprentice_sidecar.serving.vllm.device._OBEY_SECONDS", 0.5)

    async def test(server: Server) -> None:
        await server.publish(1)
        await server.faults(**faults)
        loop, seen = asyncio.get_running_loop(), []

        def work() -> None:
            seen.append(asyncio.run_coroutine_threadsafe(server.behind("GET", "/is_sleeping"), loop).result())
            later = asyncio.run_coroutine_threadsafe(server.chat("t@1"), loop)
            while server.engine.load().waiting == 0:
                pass
            seen.append(later)

        await in_a_job(server, work)
        assert seen[0] == {"is_sleeping": True}
        assert (await asyncio.wrap_future(seen[1]))["model"] == "t@1"
        assert await server.behind("GET", "/is_sleeping") == {"is_sleeping": False}

    run(tmp_path, test, device="cuda")


def test_on_gpus_of_its_own_it_answers_while_a_job_trains(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        loop, seen = asyncio.get_running_loop(), []

        def work() -> None:
            for one in (server.chat("t@1"), server.behind("GET", "/is_sleeping"), server.behind("GET", "/is_paused")):
                seen.append(asyncio.run_coroutine_threadsafe(one, loop).result(20))

        await in_a_job(server, work)
        assert seen[0]["model"] == "t@1"
        assert seen[1:] == [{"is_sleeping": False}, {"is_paused": False}]

    run(tmp_path, test, device="cuda", gpus=(1,), shares_gpu=False)


def test_one_that_stays_awake_refuses_the_job_and_serves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apprentice_sidecar.serving.vllm.device._OBEY_SECONDS", 0.2)

    async def test(server: Server) -> None:
        await server.faults(stuck_sleep=True)
        with pytest.raises(SidecarError, match="did not give the device up"):
            await in_a_job(server, lambda: pytest.fail("the device was not free"))
        assert (await server.chat())["model"] == "base"

    run(tmp_path, test, device="cuda")


def test_one_that_dies_asleep_is_started_after_the_job_and_not_during(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        await server.publish(1)
        loop, during = asyncio.get_running_loop(), []

        def work() -> None:
            asyncio.run_coroutine_threadsafe(server.crash(), loop).result()
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.5), loop).result()
            during.append(server.engine.health()["serving"]["state"])

        await in_a_job(server, work)
        assert during == ["restarting"]
        assert (await server.chat("t@1"))["model"] == "t@1"
        assert server.engine.health()["serving"]["restarts"] == 1

    run(tmp_path, test, device="cuda")


def test_one_that_does_not_come_back_refuses_every_request_at_once(tmp_path: Path) -> None:
    async def test(server: Server) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            (tmp_path / "broken").touch()
            asyncio.run_coroutine_threadsafe(server.crash(), loop).result()

        with pytest.raises(SidecarError, match="did not come back"):
            await in_a_job(server, work)
        with pytest.raises(SidecarError) as lost:
            await server.chat()
        assert lost.value.code == "serving_lost"

    run(tmp_path, test, device="cuda")
