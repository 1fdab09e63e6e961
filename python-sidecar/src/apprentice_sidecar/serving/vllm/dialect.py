"""Chat requests as vLLM has to be asked, so that its answers can be recorded token for token."""

from __future__ import annotations

from typing import Any, Literal

from ...errors import SidecarError
from ...protocol import ChatRequest


def to_vllm_request(request: ChatRequest, *, device: Literal["cpu", "cuda"]) -> dict[str, Any]:
    """The body of `POST /v1/chat/completions`; only what the caller gave, so that vLLM's defaults hold for the rest.

    Raises SidecarError `invalid_request` for a `seed` on a CPU: vLLM 0.31.0's generator there knows no offset, and the
    first chunked prefill of a seeded request ends the engine with every request in flight ("CPU Generator does not use
    offset"). Leaving the seed out silently would give the caller answers that are not repeatable as asked.
    """
    if request.seed is not None and device == "cpu":
        raise SidecarError(
            "invalid_request",
            "seed cannot be honoured by vLLM on a CPU: a seeded request ends its engine.",
            fix="Leave seed out, use temperature 0 for repeatable answers, or serve with the CPU engine.",
            param="seed",
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
