"""How our servers are set up."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import Any

import uvicorn

from apprentice_sidecar.server.run import configured


async def answers(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def test_a_connection_outlives_what_clients_keep_it_for() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(configured(answers))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        kept = connection.sock
        time.sleep(6)  # uvicorn's default is 5 s, the time for which httpx keeps a connection
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        assert connection.sock is kept
        connection.close()
    finally:
        server.should_exit = True
        thread.join(10)
