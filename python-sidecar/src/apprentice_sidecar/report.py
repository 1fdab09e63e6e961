"""JSON lines on standard output: what the owner, or the host's log, is told."""

from __future__ import annotations

import json


def say(event: str, **fields: object) -> None:
    """One JSON line."""
    print(json.dumps({"event": event, **fields}), flush=True)
