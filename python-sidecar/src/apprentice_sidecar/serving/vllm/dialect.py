"""Chat requests as vLLM has to be asked, so that its answers can be recorded token for token."""

from __future__ import annotations

import json
from typing import Any, Literal

from ...errors import SidecarError
from ...protocol import ChatRequest, NamedToolChoice
from ..tools import CLOSE, OPEN, ToolSchema, forced_tools


def to_vllm_request(request: ChatRequest, *, device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """The body of `POST /v1/chat/completions`; only what the caller gave, so that vLLM's defaults hold for the rest.

    Raises SidecarError `invalid_request` for a `seed` on a CPU: vLLM 0.31.0's generator there knows no offset, and the
    first chunked prefill of a seeded request ends the engine with every request in flight ("CPU Generator does not use
    offset"). Leaving the seed out silently would give the caller answers that are not repeatable as asked. Likewise for
    several answers at temperature 0, which vLLM refuses everywhere.
    """
    if request.seed is not None and device == "cpu":
        raise SidecarError(
            "invalid_request",
            "seed cannot be honoured by vLLM on a CPU: a seeded request ends its engine.",
            fix="Leave seed out, use temperature 0 for repeatable answers, or serve with the CPU engine.",
            param="seed",
        )
    if request.n > 1 and request.temperature == 0:
        raise SidecarError(
            "invalid_request",
            f"n is {request.n} at temperature 0: vLLM makes one answer there, as all would be the same.",
            fix="Ask for one answer, or give a temperature.",
            param="n",
        )
    body = request.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # What is null was not given; vLLM would take a null tool_choice for none.
    body = {name: value for name, value in body.items() if value is not None}
    if request.tool_choice == "none":
        # As our own engine: tools that may not be called are no part of the prompt.
        body.pop("tools", None)
        body.pop("tool_choice")
    # Ours and vLLM's default: 1. Said, so that a model's own sampling defaults can never come in.
    body["temperature"] = request.temperature
    body["top_p"] = request.top_p
    if request.logprobs:
        body["top_logprobs"] = 0
    return body


def as_text(body: dict[str, Any], request: ChatRequest) -> dict[str, Any]:
    """The request for an answer whose Hermes tool calls are left in its text; a call that is forced is enforced.

    The prompt shows the tools all the same. Raises SidecarError where a tool is forced that is not offered.
    """
    choice = request.tool_choice
    left = body | {"tool_choice": "none", "skip_special_tokens": False}
    if choice == "required" or isinstance(choice, NamedToolChoice):
        name = choice.function.name if isinstance(choice, NamedToolChoice) else None
        forced = {
            "type": "tags_with_separator",
            "tags": [_tag(tool) for tool in forced_tools(request.tools or [], name)],
            "separator": "",
            "at_least_one": True,
            "stop_after_first": True,
        }
        # As our own engine: a call that is forced goes before a format.
        left.pop("response_format", None)
        left["structured_outputs"] = {"structural_tag": json.dumps({"type": "structural_tag", "format": forced})}
    return left


def _tag(tool: ToolSchema) -> dict[str, Any]:
    return {
        "type": "tag",
        "begin": f'{OPEN}\n{{"name": {json.dumps(tool.name)}, "arguments": ',
        "content": {"type": "json_schema", "json_schema": tool.parameters},
        "end": f"}}\n{CLOSE}",
    }
