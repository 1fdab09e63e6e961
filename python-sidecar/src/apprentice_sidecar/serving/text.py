"""Turns sampled ids into text as they come: whole characters only, and nothing beyond a stop string."""

from __future__ import annotations

from typing import Any


class TextStream:
    """Ids in, text out. `finished` says why the answer is over, once it is."""

    def __init__(self, tokenizer: Any, end_ids: frozenset[int], stops: list[str]) -> None:
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._stops = stops
        self.ids: list[int] = []
        self.text = ""
        self.stopped = False

    def push(self, token: int) -> bool:
        """Adds an id; False when the answer ends with it."""
        self.ids.append(token)
        if token in self._end_ids:
            self.stopped = True
            return False
        self.text = self._tokenizer.decode(self.ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for stop in self._stops:
            at = self.text.find(stop)
            if at >= 0:
                self.text = self.text[:at]
                self.stopped = True
                return False
        return True

    @property
    def settled(self) -> str:
        """The text that later ids cannot change: without half characters and what may become a stop string."""
        text = self.text
        if self.stopped:
            return text
        text = text.rstrip("\ufffd")
        longest = max((_overlap(text, stop) for stop in self._stops), default=0)
        return text[: len(text) - longest] if longest else text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    bound = min(len(text), len(stop) - 1)
    return next((length for length in range(bound, 0, -1) if stop.startswith(text[-length:])), 0)
