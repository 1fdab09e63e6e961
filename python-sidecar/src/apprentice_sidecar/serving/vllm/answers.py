"""vLLM's answers as docs/sidecar-protocol.md has them: the same fields, and nothing else."""

from __future__ import annotations

from typing import Any

from ...protocol import ChatRequest
from ..tools import CallReader, split_calls
from .client import engine_failed

#: Why an answer may end; anything else is a fault of the engine's.
_ENDS = ("stop", "length", "tool_calls")


class Answers:
    """Reads the answer to one request, whole or chunk by chunk.

    `own_calls`: tool calls are read here, from text that vLLM left as it is, so that arguments are the exact slice that
    the model wrote and a call that does not parse stays text; otherwise vLLM's parser has read them.
    """

    def __init__(self, request: ChatRequest, *, own_calls: bool) -> None:
        self._request = request
        self._own_calls = own_calls
        self._choices = [_Choice() for _ in range(request.n)]
        self._head: dict[str, Any] = {}
        #: tokens so far
        self.generated = 0

    def whole(self, body: dict[str, Any]) -> dict[str, Any]:
        """A plain answer. Raises SidecarError where vLLM broke it off."""
        answer = self._common(body) | {
            "object": "chat.completion",
            "choices": [self._whole(choice) for choice in body["choices"]],
            "usage": _usage(body["usage"]),
        }
        if self._request.return_token_ids:
            answer["prompt_token_ids"] = body["prompt_token_ids"]
        return answer

    def chunk(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """What a chunk of a stream becomes. Raises SidecarError where vLLM broke it off."""
        if "error" in chunk:
            raise engine_failed(str(chunk["error"].get("message", chunk["error"])))
        is_first = not self._head
        self._head = self._common(chunk) | {"object": "chat.completion.chunk"}
        made = [self._head | {"choices": [one]} for choice in chunk["choices"] if (one := self._part(choice))]
        if is_first and made and self._request.return_token_ids:
            made[0]["prompt_token_ids"] = chunk["prompt_token_ids"]
        if chunk.get("usage") is not None:
            made.append(self._head | {"choices": [], "usage": _usage(chunk["usage"])})
        return made

    def _common(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"id": body["id"], "created": body["created"], "model": self._request.model}

    def _whole(self, choice: dict[str, Any]) -> dict[str, Any]:
        said = choice["message"]
        text, calls = said.get("content") or "", said.get("tool_calls") or []
        if self._own_calls:
            text, own = split_calls(text)
            calls = [call.to_wire() for call in own]
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
        if said.get("reasoning"):
            message["reasoning"] = said["reasoning"]
        if calls:
            message["tool_calls"] = calls
        reason = _reason(choice["finish_reason"], bool(calls))
        return {
            "index": choice["index"],
            "message": message,
            "finish_reason": reason,
            "logprobs": None,
            **self._tokens(choice),
        }

    def _part(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        """What a chunk says of one choice; None where that is nothing."""
        state, delta = self._choices[choice["index"]], choice["delta"]
        ended = choice.get("finish_reason") is not None
        if delta.get("role"):
            made: dict[str, Any] = {"role": "assistant", "content": ""}
        elif self._own_calls:
            made = state.read(delta.get("content") or "", ended=ended)
        else:
            made = {name: delta[name] for name in ("content", "reasoning", "tool_calls") if delta.get(name)}
            made = made or {"content": ""}
            state.calls = state.calls or "tool_calls" in made
        part = {
            "index": choice["index"],
            "delta": made,
            "finish_reason": _reason(choice["finish_reason"], state.calls) if ended else None,
        }
        if delta.get("role"):
            return part
        said_nothing = made == {"content": ""} and not choice.get("token_ids") and not ended
        return None if said_nothing else part | self._tokens(choice)

    def _tokens(self, choice: dict[str, Any]) -> dict[str, Any]:
        ids = choice.get("token_ids") or []
        self.generated += len(ids)
        found: dict[str, Any] = {}
        if self._request.logprobs:
            entries = (choice.get("logprobs") or {}).get("content") or []
            found["logprobs"] = {"content": [_entry(entry) for entry in entries]}
        if self._request.return_token_ids:
            found["token_ids"] = ids
        return found


class _Choice:
    """How much of one streamed choice has been said."""

    def __init__(self) -> None:
        self.calls = False
        self._text = ""
        self._reader = CallReader()

    def read(self, more: str, *, ended: bool) -> dict[str, Any]:
        """The delta of the text that has come now."""
        self._text += more
        if not ended:
            return {"content": self._reader.visible(self._text)}
        rest, calls = self._reader.rest(self._text)
        self.calls = bool(calls)
        wire = [{"index": place, **call.to_wire()} for place, call in enumerate(calls)]
        return {"tool_calls": wire} if calls else {"content": rest}


def _reason(given: str | None, calls: bool) -> str:
    if given not in _ENDS:
        raise engine_failed(f"it ended an answer with {given!r}")
    return "tool_calls" if calls else given


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry["token"], "logprob": entry["logprob"], "bytes": entry.get("bytes"), "top_logprobs": []}


def _usage(usage: dict[str, Any]) -> dict[str, int]:
    return {name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
