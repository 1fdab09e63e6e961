"""vLLM's answers become ours: calls as the model wrote them, ids where they belong, faults as errors."""

from __future__ import annotations

from typing import Any

import pytest

from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import ChatRequest, parse
from apprentice_sidecar.serving.vllm.answers import Answers
from apprentice_sidecar.serving.vllm.client import refusal
from apprentice_sidecar.serving.vllm.dialect import as_text, to_vllm_request

CALL = '<tool_call>\n{"name": "route", "arguments": {"queue":  "tent"}}\n</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "route", "parameters": {"type": "object"}}}]


def request(**more: Any) -> ChatRequest:
    return parse(ChatRequest, {"model": "t@1", "messages": [{"role": "user", "content": "x"}], "tools": TOOLS, **more})


def chunk(**choice: Any) -> dict[str, Any]:
    common = {"id": "chatcmpl-1", "created": 1, "model": "t@1", "object": "chat.completion.chunk"}
    return common | {"choices": [{"index": 0, "finish_reason": None, "logprobs": None, **choice}]}


def whole(content: str, reason: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "tool_calls": [], "reasoning": None}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None, "token_ids": [1, 2]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": None}
    return {
        "id": "chatcmpl-1",
        "created": 1,
        "model": "t@1",
        "choices": [choice],
        "usage": usage,
        "prompt_token_ids": [7],
    }


def test_the_arguments_of_a_call_are_the_slice_that_the_model_wrote() -> None:
    (choice,) = Answers(request(), own_calls=True).whole(whole(CALL))["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "route", "arguments": '{"queue":  "tent"}'}
    assert choice["finish_reason"] == "tool_calls"


def test_a_call_that_does_not_parse_stays_text_whole_and_streamed() -> None:
    broken = CALL.replace("}}", "}")
    (choice,) = Answers(request(), own_calls=True).whole(whole(broken))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (broken, "stop")
    streamed = _streamed(Answers(request(), own_calls=True), broken)
    assert "".join(delta.get("content", "") for delta in streamed) == broken


def test_text_before_a_call_streams_at_once_and_the_call_comes_in_one_piece() -> None:
    deltas = _streamed(Answers(request(), own_calls=True), f"I see. {CALL}")
    assert "".join(delta.get("content", "") for delta in deltas) == "I see. "
    (calls,) = [delta["tool_calls"] for delta in deltas if "tool_calls" in delta]
    assert (calls[0]["index"], calls[0]["function"]["arguments"]) == (0, '{"queue":  "tent"}')


def _streamed(answers: Answers, text: str) -> list[dict[str, Any]]:
    """The deltas of `text`, three characters at a time."""
    made = answers.chunk(chunk(delta={"role": "assistant", "content": ""}) | {"prompt_token_ids": [7]})
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    for piece in pieces:
        made += answers.chunk(chunk(delta={"content": piece}, token_ids=[1]))
    made += answers.chunk(chunk(delta={"content": ""}, token_ids=[2], finish_reason="stop"))
    return [one["choices"][0]["delta"] for one in made]


def test_what_another_parser_read_is_passed_on() -> None:
    answers = Answers(request(), own_calls=False)
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "route"}}
    answers.chunk(chunk(delta={"role": "assistant", "content": ""}))
    (first,) = answers.chunk(chunk(delta={"tool_calls": [call]}, token_ids=[1]))
    (last,) = answers.chunk(chunk(delta={"content": ""}, token_ids=[2], finish_reason="stop"))
    assert first["choices"][0]["delta"] == {"tool_calls": [call]}
    assert last["choices"][0]["finish_reason"] == "tool_calls"


def test_reasoning_is_kept_apart_with_either_reader() -> None:
    for own in (True, False):
        answers = Answers(request(), own_calls=own)
        answers.chunk(chunk(delta={"role": "assistant", "content": ""}))
        (part,) = answers.chunk(chunk(delta={"reasoning": "hm"}, token_ids=[1]))
        assert part["choices"][0]["delta"]["reasoning"] == "hm"


def test_ids_are_given_where_they_were_asked_for_and_counted_in_any_case() -> None:
    for asked in (True, False):
        answers = Answers(request(return_token_ids=asked), own_calls=True)
        opening = chunk(delta={"role": "assistant", "content": ""}) | {"prompt_token_ids": [7]}
        assert ("prompt_token_ids" in answers.chunk(opening)[0]) is asked
        (part,) = answers.chunk(chunk(delta={"content": "a"}, token_ids=[1, 2]))
        assert ("token_ids" in part["choices"][0]) is asked
        assert answers.generated == 2


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_an_answer_that_the_engine_broke_off_is_an_error(reason: str) -> None:
    with pytest.raises(SidecarError) as failed:
        Answers(request(), own_calls=True).whole(whole("a", reason))
    assert (failed.value.code, failed.value.http_status) == ("engine_failed", 503)
    with pytest.raises(SidecarError, match="EngineCore encountered an issue"):
        Answers(request(), own_calls=True).chunk({"error": {"message": "EngineCore encountered an issue"}})


def test_refusals_keep_their_reason_and_the_name_of_the_parameter() -> None:
    long = "This model's maximum context length is 1024 tokens."
    body = '{"error": {"message": "MESSAGE", "type": "BadRequestError", "param": "top_p", "code": 400}}'
    one, other = refusal(400, body), refusal(400, body.replace("MESSAGE", long))
    assert (one.code, one.param, one.http_status) == ("invalid_request", "top_p", 400)
    assert (other.code, other.param) == ("context_length_exceeded", "messages")
    assert (refusal(500, "").code, refusal(500, "").http_status) == ("engine_failed", 503)


def test_a_forced_call_is_enforced_with_its_schema_and_left_in_the_text() -> None:
    asked = request(tool_choice="required")
    body = as_text(to_vllm_request(asked, device="cpu"), asked)
    assert body["tool_choice"] == "none" and body["tools"] == TOOLS
    assert '"json_schema": {"type": "object"}' in body["structured_outputs"]["structural_tag"]
    free = request()
    assert "structured_outputs" not in as_text(to_vllm_request(free, device="cpu"), free)


def test_tools_that_may_not_be_called_are_no_part_of_the_request() -> None:
    body = to_vllm_request(request(tool_choice="none"), device="cpu")
    assert "tools" not in body and "tool_choice" not in body


def test_several_answers_at_temperature_0_are_refused_by_name() -> None:
    with pytest.raises(SidecarError) as refused:
        to_vllm_request(request(n=2, temperature=0), device="cuda")
    assert refused.value.param == "n"
