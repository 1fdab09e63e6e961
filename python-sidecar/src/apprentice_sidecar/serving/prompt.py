"""Messages to prompt ids, through the model's own chat template."""

from __future__ import annotations

import json
from typing import Any

from jinja2.exceptions import TemplateError

from ..base_model import BaseModel
from ..errors import SidecarError
from ..protocol import ChatRequest, TokenizeRequest

_PROBE = '{"a":  1.0}'


class PromptMaker:
    """Renders and encodes prompts; knows whether the template takes arguments as the text that the model wrote."""

    def __init__(self, base: BaseModel) -> None:
        self._tokenizer: Any = base.tokenizer
        self._context_length = base.context_length
        self._kwargs = base.chat_template_kwargs
        self._verbatim = self._takes_text()

    def make(self, request: ChatRequest) -> list[int]:
        """Prompt ids; raises SidecarError where the template refuses the messages or they leave no room."""
        tools = None if request.tool_choice == "none" else request.tools
        wanted = TokenizeRequest(
            messages=request.messages, tools=tools, chat_template_kwargs=request.chat_template_kwargs
        )  # fmt: skip
        ids = self.encode(wanted)
        if len(ids) >= self._context_length:
            raise SidecarError(
                "context_length_exceeded",
                f"The prompt has {len(ids)} tokens; the model takes {self._context_length} with the answer.",
                fix="Shorten the messages.",
                param="messages",
            )
        return ids

    def encode(self, request: TokenizeRequest) -> list[int]:
        """The ids of the messages as the template renders them; raises SidecarError where it refuses them."""
        messages = [self._prepare(message) for message in request.messages]
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tools=request.tools or None,
                tokenize=False,
                add_generation_prompt=request.add_generation_prompt,
                **(dict(self._kwargs) | request.chat_template_kwargs),
            )
        except (TemplateError, TypeError, KeyError, ValueError) as error:
            raise SidecarError(
                "messages_refused",
                f"The chat template refuses the messages: {error}.",
                fix="Send messages of the roles and shapes that this model's template knows.",
                param="messages",
            ) from error
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _prepare(self, message: dict[str, Any]) -> dict[str, Any]:
        prepared = dict(message)
        content = prepared.get("content")
        if isinstance(content, list):
            prepared["content"] = "".join(_text_of(part) for part in content)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] -- checked in _text_of
        elif content is None:
            prepared["content"] = ""
        calls = prepared.get("tool_calls")
        if calls and not self._verbatim:
            prepared["tool_calls"] = [_with_mapping(call) for call in calls]
        return prepared

    def _takes_text(self) -> bool:
        """Whether the template writes an `arguments` text as it is; many hub templates would quote it."""
        call = {"type": "function", "function": {"name": "f", "arguments": _PROBE}}
        messages = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "y"},
        ]
        try:
            return _PROBE in self._tokenizer.apply_chat_template(messages, tokenize=False)
        except (TemplateError, TypeError, KeyError, ValueError):
            return False


def _text_of(part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text":  # pyright: ignore[reportUnknownMemberType] -- from JSON
        return str(part.get("text", ""))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] -- from JSON
    raise SidecarError(
        "content_unsupported",
        "A message holds a content part that is not text.",
        fix="Send text only: this model reads nothing else.",
        param="messages",
    )


def _with_mapping(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["function"]["arguments"]
    try:
        value = json.loads(arguments)
    except (TypeError, ValueError):
        value = arguments
    return {**call, "function": {**call["function"], "arguments": value}}
