"""One request to vLLM, with its faults in our words."""

from __future__ import annotations

import json
from typing import Any

import httpx

from ...errors import SidecarError
from .process import VllmProcess


async def ask(
    process: VllmProcess,
    method: str,
    path: str,
    body: object = None,
    *,
    timeout_seconds: float | None = None,
    fresh_connection: bool = False,
) -> httpx.Response:
    """The answer, whatever its status; raises SidecarError `engine_failed` where none comes (in time, where given).

    `fresh_connection`: several API servers share a port, and a connection stays with one of them.
    """
    headers = {"connection": "close"} if fresh_connection else {}
    try:
        return await process.client.request(method, path, json=body, timeout=timeout_seconds, headers=headers)
    except httpx.HTTPError as error:
        raise engine_failed(f"{method} {path.partition('?')[0]}: {type(error).__name__}") from error


async def told(process: VllmProcess, method: str, path: str, body: object = None, **how: Any) -> Any:
    """The JSON of an answer of status 200; None where its body is empty. Raises SidecarError otherwise."""
    response = await ask(process, method, path, body, **how)
    if response.status_code != 200:
        raise refusal(response.status_code, response.text)
    return json.loads(response.text) if response.text else None


def engine_failed(why: str) -> SidecarError:
    """vLLM did not answer, or broke off; the same request may be sent again."""
    return SidecarError(
        "engine_failed",
        f"vLLM failed on this request: {why}.",
        fix="Try again; its log has the details.",
        http_status=503,
    )


def refusal(status: int, text: str) -> SidecarError:
    """vLLM's error answer as ours."""
    message, param = _message(text)
    if status >= 500 or status == 401:
        return engine_failed(f"HTTP {status}, {message}")
    if exceeds_context(status, text):
        return SidecarError("context_length_exceeded", message, fix="Shorten the messages.", param="messages")
    return SidecarError(
        "invalid_request",
        f"vLLM refuses the request: {message}",
        fix="See docs/sidecar-protocol.md for what this engine accepts.",
        http_status=status,
        param=param,
    )


def exceeds_context(status: int, text: str) -> bool:
    """Whether a request was refused for its length."""
    return status == 400 and "maximum context length" in text


def _message(text: str) -> tuple[str, str | None]:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return text[:500].strip() or "no reason given", None
    error = value.get("error", value) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- from JSON
    if not isinstance(error, dict):
        return str(error), None  # pyright: ignore[reportUnknownArgumentType] -- from JSON
    param = error.get("param")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] -- from JSON
    return str(error.get("message", error)), param if isinstance(param, str) else None  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType] -- from JSON
