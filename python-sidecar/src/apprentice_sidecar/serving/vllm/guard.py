"""`python guard.py COMMAND…`: runs a command in a session of its own and ends all of it once standard input ends.

vLLM's engine core outlives an API server that is killed and keeps its memory. This process holds the other end of a
pipe of the sidecar: however the sidecar goes away, the pipe ends, and the whole group is killed. Imports the standard
library only: it runs under whichever interpreter has vLLM.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """The lifeline cannot help once this process itself is killed; Linux can end the command then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Runs the command; its exit code, 128 + the signal where one ended it."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # no thread runs yet
    )

    def watch() -> None:
        while os.read(0, 4096):
            pass
        _kill_group(child.pid)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    code = child.wait()
    # The leader has ended by itself: what it started must not stay. Its group exists as long as a member does.
    _kill_group(child.pid)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
