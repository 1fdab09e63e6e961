"""Reads tool calls in the Hermes format; what does not parse stays text."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from ..errors import SidecarError

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_NAME = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class ToolCall:
    """`arguments` is the exact text that the model wrote."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")

    def to_wire(self) -> dict[str, object]:
        """As in an OpenAI message."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True)
class ToolSchema:
    """A tool on offer; `parameters`: JSON schema of its arguments."""

    name: str
    parameters: dict[str, Any]


def forced_tools(tools: list[dict[str, Any]], name: str | None) -> list[ToolSchema]:
    """The tools, or the one of that name, of which one must be called; raises SidecarError where there is none."""
    functions = [tool.get("function", {}) for tool in tools]
    found = [ToolSchema(one["name"], one.get("parameters") or {"type": "object"}) for one in functions if "name" in one]
    chosen = [tool for tool in found if name is None or tool.name == name]
    if not chosen:
        raise SidecarError(
            "tool_not_found",
            f"tool_choice names the tool {name!r}, but the request offers {[tool.name for tool in found]}.",
            fix="Offer the tool, or name another.",
            param="tool_choice",
        )
    return chosen


def parse_call(body: str) -> ToolCall | None:
    """The call between the two marks, or None where it is no valid call."""
    head = _NAME.match(body)
    if head is None:
        return None
    try:
        value, end = _DECODER.raw_decode(body, head.end())
    except ValueError:
        return None
    if not isinstance(value, dict) or body[end:].strip() != "}":
        return None
    return ToolCall(json.loads(head[1]), body[head.end() : end])


def split_calls(text: str) -> tuple[str, list[ToolCall]]:
    """Content and tool calls of a whole answer. If any call does not parse, all of it stays content."""
    calls: list[ToolCall] = []
    content, rest = "", text
    while OPEN in rest:
        before, _, after = rest.partition(OPEN)
        body, closed, rest = after.partition(CLOSE)
        call = parse_call(body) if closed else None
        if call is None:
            return text, []
        content += before
        calls.append(call)
    content += rest
    return (content.strip() if calls else content), calls


class CallReader:
    """Reads an answer while it grows: text before a tool-call mark goes out at once, the rest once all is there."""

    def __init__(self) -> None:
        self._said = 0

    def visible(self, text: str) -> str:
        """What may go out of the answer so far and did not before; the start of a mark may become a whole one."""
        end = text.find(OPEN)
        if end < 0:
            held = next((n for n in range(min(len(OPEN) - 1, len(text)), 0, -1) if OPEN.startswith(text[-n:])), 0)
            end = len(text) - held
        new = text[self._said : end]
        self._said = max(self._said, end)
        return new

    def rest(self, text: str) -> tuple[str, list[ToolCall]]:
        """What is left of the whole answer: its calls, or where there are none the text that was held back."""
        calls = split_calls(text)[1]
        return ("" if calls else text[self._said :]), calls
