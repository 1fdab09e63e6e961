"""`apprentice-sidecar serve`: the sidecar on a host of its own, for owners that reach it over the network.

No lifeline: a job goes on when its owner is cut off, and is found again by its id. The state folder is the working
folder, so that what requests name relative to it means the same on every host.
"""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import os
import secrets
import socket
import stat
import sys
from pathlib import Path

from . import PROTOCOL_VERSION
from .engine_options import add_engine_options, load_engines
from .errors import SidecarError
from .marks import passing
from .report import say

#: Seconds that requests in flight get when the process is asked to end.
GRACE_SECONDS = 5
SHORTEST_TOKEN = 32


def main(arguments: list[str]) -> int:
    """Serves until it is asked to end (SIGTERM, SIGINT); the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _check_exposure(options)
        token = _read_token(Path(options.token_file))
        state = Path(options.state)
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(state)
        listener = _listen(options.host, options.port)
    except SidecarError as error:
        return _failed(error)
    with lock:
        return _serve(options, token, state.resolve(), listener)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apprentice-sidecar serve", description=__doc__)
    add_engine_options(parser)
    parser.add_argument("--model-name", help="what owners call the base model; default: --model")
    parser.add_argument("--state", required=True, help="folder for adapters and uploads")
    parser.add_argument("--token-file", required=True, help="file of mode 600 with the bearer token; made if missing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=8420, help="default: 8420; 0: any free one")
    parser.add_argument("--tls-cert", help="PEM file of the certificate, with its chain")
    parser.add_argument("--tls-key", help="PEM file of its key")
    parser.add_argument("--behind-proxy", action="store_true", help="a proxy in front of it speaks TLS")
    return parser


def _serve(options: argparse.Namespace, token: str, state: Path, listener: socket.socket) -> int:
    say("progress", stage="import", message="loading torch")
    from .server.app import Sidecar
    from .server.run import configured, run
    from .server.security import LOOPBACK, Access

    name = options.model_name or options.model
    if Path(options.model).exists():
        options.model = str(Path(options.model).resolve())
    options.cache = options.cache.resolve()
    if options.serving_state is not None:
        options.serving_state = Path(options.serving_state).resolve()
    certificate, key = (None if file is None else Path(file).resolve() for file in (options.tls_cert, options.tls_key))
    os.chdir(state)
    say("progress", stage="model", message=f"loading {options.model}")
    try:
        engines = load_engines(options, lambda stage, text: say("progress", stage=stage, message=text), name=name)
    except SidecarError as error:
        return _failed(error)
    passing("model-loaded")
    instance = secrets.token_hex(8)
    named = options.tls_cert is not None or options.behind_proxy
    access = Access(token, hosts=None if named else LOOPBACK, root=state)
    app = Sidecar(engines, access, instance=instance).app()
    try:
        config = configured(app, proxy_headers=False, timeout_graceful_shutdown=GRACE_SECONDS,
                            ssl_certfile=certificate, ssl_keyfile=key)  # fmt: skip
        config.load()
    except OSError as error:
        return _failed(SidecarError("tls_unusable", f"The certificate or its key cannot be read: {error}.",
                                    fix="Give PEM files that belong together."))  # fmt: skip
    host, port = listener.getsockname()[:2]

    def ready() -> None:
        say("ready", protocol=PROTOCOL_VERSION, host=host, port=port, pid=os.getpid(), instance=instance,
            tls=certificate is not None)  # fmt: skip

    try:
        run(engines.serving, config, listener, ready)
    except SidecarError as error:
        return _failed(error)
    return 0


def _check_exposure(options: argparse.Namespace) -> None:
    if (options.tls_cert is None) != (options.tls_key is None):
        raise SidecarError(
            "tls_incomplete", "Only one of --tls-cert and --tls-key is given.", fix="Give both, or neither."
        )
    if _is_loopback(options.host) or options.tls_cert is not None or options.behind_proxy:
        return
    raise SidecarError(
        "no_tls",
        f"On {options.host} the token and all rollouts would travel unencrypted.",
        fix="Give --tls-cert and --tls-key, or --behind-proxy where a proxy speaks TLS, or listen on 127.0.0.1.",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(file: Path) -> str:
    """The token in `file`; a new one is written where there is no such file."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise SidecarError("no_token", f"The token file {file} cannot be written: {error.strerror}.",
                           fix="Give a file in a folder that is there.") from error  # fmt: skip
    else:
        with os.fdopen(descriptor, "w") as fresh:
            fresh.write(f"{secrets.token_hex(32)}\n")
        say("progress", stage="start", message=f"wrote a new token into {file}")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise SidecarError("token_file_open", f"Others than its owner may read {file}.", fix=f"Run: chmod 600 {file}")
    token = file.read_text().strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or any(one.isspace() for one in token):
        raise SidecarError(
            "no_token",
            f"The token in {file} is shorter than {SHORTEST_TOKEN} characters or holds others than plain ones.",
            fix="Remove the file: the next start writes a new one.",
        )
    return token


def _lock(state: Path):
    """Holds the state folder for this process; raises SidecarError where another one does."""
    file = (state / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise SidecarError(
            "state_in_use",
            f"Another sidecar serves with the state folder {state}.",
            fix="End it, or give another --state.",
        ) from error
    return file


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise SidecarError(
            "cannot_listen",
            f"{host}:{port} cannot be listened on: {error.strerror}.",
            fix="Give another --host or --port.",
        ) from error
    return listener


def _failed(error: SidecarError) -> int:
    say("failed", code=error.code, message=error.message, fix=error.fix)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
