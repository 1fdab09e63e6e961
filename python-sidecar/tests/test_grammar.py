"""Constrained answers: what the grammar lets through is what was asked for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.serving.grammar import Grammar, GrammarFactory
from apprentice_sidecar.serving.tools import ToolSchema, forced_tools, split_calls

MODEL = Path(__file__).parents[1] / "tiny-model" / "model"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(MODEL)


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [tool("wait", days={"enum": [1, 2]}), tool("resolve", action={"enum": ["refund", "replace"]})]


def random_answer(tokenizer: PreTrainedTokenizerFast, grammar: Grammar, seed: int) -> str:
    """Any answer that the grammar permits, token by token."""
    rng = random.Random(seed)
    ids: list[int] = []
    while len(ids) < 200:
        choice = rng.choice(grammar.allowed().nonzero()[:, 0].tolist())
        if choice == tokenizer.eos_token_id:
            break
        grammar.consume(choice)
        ids.append(choice)
    return str(tokenizer.decode(ids))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_sampled_under_a_forced_call_is_one_call_that_fits(
    tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    grammar = GrammarFactory(tokenizer, len(tokenizer)).tool_call(forced_tools(TOOLS, None))
    content, calls = split_calls(random_answer(tokenizer, grammar, seed))
    assert content == ""
    fitting = [("wait", {"days": 1}), ("wait", {"days": 2}),
               ("resolve", {"action": "refund"}), ("resolve", {"action": "replace"})]  # fmt: skip
    assert len(calls) == 1
    assert (calls[0].name, json.loads(calls[0].arguments)) in fitting


def test_a_named_tool_leaves_no_other(tokenizer: PreTrainedTokenizerFast) -> None:
    for seed in range(6):
        grammar = GrammarFactory(tokenizer, len(tokenizer)).tool_call(forced_tools(TOOLS, "resolve"))
        _, calls = split_calls(random_answer(tokenizer, grammar, seed))
        assert [call.name for call in calls] == ["resolve"]


def test_a_tool_that_is_not_on_offer_is_refused_by_name() -> None:
    with pytest.raises(SidecarError, match=r"'refund'.*\['wait', 'resolve'\]"):
        forced_tools(TOOLS, "refund")


def test_arguments_that_cannot_be_enforced_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    impossible = ToolSchema("odd", {"type": "no such type"})
    with pytest.raises(SidecarError, match="cannot be enforced"):
        GrammarFactory(tokenizer, len(tokenizer)).tool_call([impossible])
