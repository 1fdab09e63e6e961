"""`python guard.py FOLDER COMMAND…`: runs a command in its own session and ends all of it once standard input ends.

vLLM's engine core outlives an API server that is killed and keeps its memory. This process holds the other end of a
pipe of the sidecar: however the sidecar goes away, the pipe ends, and the whole session is killed. A note in FOLDER
says what runs, for the case that this process itself is killed. Imports the standard library only: it runs under
whichever interpreter has vLLM.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: How long what was killed may take to be gone: gigabytes are given back first.
_REAP_SECONDS = 10.0


def note_of(folder: Path, guard: int) -> Path:
    """Where the guard of this process id notes what it runs."""
    return folder / f"vllm-{guard}.json"


def end_left_overs(folder: Path) -> list[int]:
    """Kills the sessions that are noted in `folder` and whose guard has gone; their leaders' process ids.

    A guard that lives has a sidecar. Without /proc nothing is known of other processes, and nothing is killed.
    """
    ended: list[int] = []
    for file in folder.glob("vllm-*.json"):
        note = _read(file)
        if note.get("boot") == _boot():
            if _is_running(note["guard"]):
                continue
            leader = note["command"]
            members = _session(leader)
            for pid in members:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            ended += [leader["pid"]] if members else []
        file.unlink(missing_ok=True)
    return ended


def main(folder: Path, command: list[str]) -> int:
    """Runs the command and outlasts all that it started; its exit code, 128 + the signal where one ended it."""
    _adopt_orphans()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # no thread runs yet
    )
    note = note_of(folder, os.getpid())
    half = note.with_suffix(".tmp")
    half.write_text(json.dumps({"boot": _boot(), "guard": _identity(os.getpid()), "command": _identity(child.pid)}))
    half.rename(note)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        _kill_group(child.pid)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    code = child.wait()
    # The leader has ended by itself: what it started must not stay. Its group exists as long as a member does.
    _kill_group(child.pid)
    _reap(_REAP_SECONDS)
    note.unlink(missing_ok=True)
    return code if code >= 0 else 128 - code


def _adopt_orphans() -> None:
    """Makes this process the parent of what the command leaves behind, so that it can tell when that is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _reap(seconds: float) -> None:
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if not ended:
                time.sleep(0.02)


def _die_with_parent() -> None:
    """The lifeline cannot help once this process itself is killed; Linux can end the command then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _session(leader: dict[str, Any]) -> list[int]:
    """Processes of the session that `leader` began; none where its number has been given to another process since."""
    now = _identity(leader["pid"])
    if now["started"] not in ("", leader["started"]):
        return []
    numbers = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    found = {pid: _stat(pid) for pid in numbers}
    # The fourth field after the name's is the session; a zombie is dead, whoever has not looked yet.
    return [pid for pid, fields in found.items() if fields and fields[3] == str(leader["pid"]) and fields[0] != "Z"]


def _is_running(identity: dict[str, Any]) -> bool:
    return identity["started"] != "" and _identity(identity["pid"]) == identity


def _identity(pid: int) -> dict[str, Any]:
    """A number alone may be given to another process; with the time of its start it is one. Empty: there is none."""
    fields = _stat(pid)
    return {"pid": pid, "started": fields[19] if fields and fields[0] != "Z" else ""}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}  # half written, or taken away by another start
    return value if isinstance(value, dict) else {}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
