"""`python -m apprentice_sidecar --model FOLDER_OR_HUB_ID`: serve and train until standard input ends.

`python -m apprentice_sidecar serve …` is the same for owners on other machines: see `serve`.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys

from . import PROTOCOL_VERSION
from .engine_options import add_engine_options, load_engines
from .errors import SidecarError
from .marks import passing
from .prepare import prepare_process
from .report import say
from .supervise import watch_lifeline


def main(arguments: list[str] | None = None) -> int:
    """Starts the sidecar; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    prepare_process()
    if given[:1] == ["serve"]:
        from .serve import main as serve

        return serve(given[1:])
    parser = argparse.ArgumentParser(prog="apprentice_sidecar", description=__doc__)
    add_engine_options(parser)
    options = parser.parse_args(given)
    token = os.environ.get("APPRENTICE_SIDECAR_TOKEN", "")
    if len(token) < 16:
        say("failed", code="no_token", message="APPRENTICE_SIDECAR_TOKEN is missing or short.",
            fix="Give at least 16 characters of randomness.")  # fmt: skip
        return 1
    watch_lifeline()
    say("progress", stage="import", message="loading torch")
    from .server.app import Sidecar
    from .server.run import configured, run
    from .server.security import Access

    say("progress", stage="model", message=f"loading {options.model}")
    instance = secrets.token_hex(8)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))

    def ready() -> None:
        # The socket listens already: whoever connects after this line is answered once the loop runs.
        listener.listen(512)
        say("ready", protocol=PROTOCOL_VERSION, port=listener.getsockname()[1], pid=os.getpid(), instance=instance)

    try:
        engines = load_engines(options, lambda stage, text: say("progress", stage=stage, message=text))
        passing("model-loaded")
        app = Sidecar(engines, Access(token), instance=instance).app()
        run(engines.serving, configured(app), listener, ready)
    except SidecarError as error:
        say("failed", code=error.code, message=error.message, fix=error.fix)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
