"""Ends this process and all it started when its owner goes away, however the owner goes."""

from __future__ import annotations

import os
import signal
import sys
import threading


def watch_lifeline() -> None:
    """Kills this process group once standard input ends; the owner holds its other end open and writes nothing."""

    def wait() -> None:
        while sys.stdin.buffer.raw.read(4096):  # pyright: ignore[reportAttributeAccessIssue] -- standard input is buffered
            pass
        # At once: whatever is half done is redone from what is on disk.
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
