"""Constrained decoding through llguidance (light, no torch, the engine behind several servers)."""

from __future__ import annotations

import json
from typing import Any

import llguidance
import numpy as np
import torch
from torch import Tensor

from ..errors import SidecarError
from .tools import CLOSE, OPEN, ToolSchema


class GrammarFactory:
    """Builds grammars for one tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = llguidance.LLTokenizer(
            tokenizer.backend_tokenizer.to_str(), n_vocab=vocabulary, eos_token=tokenizer.eos_token_id
        )
        self._vocabulary = vocabulary
        self._marks = [self._mark(tokenizer, text) for text in (OPEN, CLOSE)]

    @staticmethod
    def _mark(tokenizer: Any, text: str) -> str:
        """The mark as the grammar writes it: one token where the vocabulary has it, as the model was trained."""
        token = tokenizer.convert_tokens_to_ids(text)
        is_one = isinstance(token, int) and token != tokenizer.unk_token_id and tokenizer.decode([token]) == text
        return f"<[{token}]>" if is_one else json.dumps(text)

    def tool_call(self, tools: list[ToolSchema]) -> Grammar:
        """Answers that are one call of one of the tools, its arguments fitting; raises SidecarError."""
        opened, closed = self._marks
        heads = [json.dumps(f'{{"name": {json.dumps(tool.name)}, "arguments": ') for tool in tools]
        calls = " | ".join(f'{head} arguments_{index} "}}"' for index, head in enumerate(heads))
        lines = [f'start: {opened} "\\n" call "\\n" {closed}', f"call: {calls}"]
        lines += [f"arguments_{index}: %json {json.dumps(tool.parameters)}" for index, tool in enumerate(tools)]
        return self._grammar("\n".join(lines), param="tools")

    def json_schema(self, schema: dict[str, Any]) -> Grammar:
        """Answers that fit the JSON schema; raises SidecarError where the schema cannot be enforced."""
        text = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        return self._grammar(text, param="response_format.json_schema.schema")

    def _grammar(self, text: str, *, param: str) -> Grammar:
        matcher = llguidance.LLMatcher(self._tokenizer, text)
        if matcher.is_error():
            raise SidecarError(
                "schema_unsupported",
                f"The schema cannot be enforced: {matcher.get_error()}.",
                fix="Simplify the schema.",
                param=param,
            )
        return Grammar(matcher, self._vocabulary)


class Grammar:
    """What one answer may still become."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary

    def allowed(self) -> Tensor:
        """Mask (V) of the ids that may come next."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        mask = torch.zeros(self._vocabulary, dtype=torch.bool)
        mask[: len(bits)] = torch.from_numpy(bits[: self._vocabulary].astype(bool))
        return mask

    def consume(self, token: int) -> None:
        """The token that was chosen."""
        self._matcher.consume_token(token)
