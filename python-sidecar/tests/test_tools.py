"""Tool calls are read as they were written."""

from __future__ import annotations

import pytest

from apprentice_sidecar.serving.tools import split_calls


def wrap(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def test_arguments_stay_verbatim() -> None:
    written = '{"b":  1.0, "a": "x}"}'
    content, (call,) = split_calls("Let me see. " + wrap(f'{{"name": "f", "arguments": {written}}}'))
    assert (content, call.name, call.arguments) == ("Let me see.", "f", written)


def test_several_calls_come_in_their_order() -> None:
    text = wrap('{"name": "f", "arguments": {}}') + "\n" + wrap('{"name": "g", "arguments": {"x": [1]}}')
    content, calls = split_calls(text)
    assert (content, [call.name for call in calls]) == ("", ["f", "g"])


@pytest.mark.parametrize(
    "text",
    [
        wrap('{"name": "f"}'),
        wrap('{"name": "f", "arguments": {"x": }}'),
        wrap('{"name": "f", "arguments": [1]}'),
        '<tool_call>\n{"name": "f", "arguments": {}}',
        wrap('{"name": "f", "arguments": {}} and more'),
    ],
)
def test_what_does_not_parse_stays_text(text: str) -> None:
    assert split_calls(text) == (text, [])
