"""Who may ask, and for which folders."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from starlette.requests import Request

from ..errors import SidecarError

LOOPBACK = frozenset({"127.0.0.1", "localhost"})


@dataclass(frozen=True)
class Access:
    """What requests need; every request needs the token, and none may come from a web page."""

    token: str
    #: Host names under which it answers; None: any, where a certificate or a proxy vouches for the name.
    hosts: frozenset[str] | None = LOOPBACK
    #: All folders of requests lie in this one and are named relative to it; None: any folder of this machine.
    root: Path | None = None

    def folder(self, text: str, param: str) -> str:
        """A folder that a request names, unchanged; raises SidecarError 403 where it lies outside of the root."""
        if self.root is None:
            return text
        path = PurePosixPath(text)
        real = (self.root / path).resolve()
        if path.is_absolute() or ".." in path.parts or self.root.resolve() not in real.parents:
            raise SidecarError(
                "folder_outside_state",
                f"The folder {text!r} does not lie in the state folder of this host.",
                fix="Name folders relative to it, for instance models/triage/adapters/0003.",
                http_status=403,
                param=param,
            )
        return text


def check(request: Request, access: Access) -> None:
    """Raises SidecarError 401, 403 or 415; every route calls it first."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    if (access.hosts is not None and host not in access.hosts) or "origin" in request.headers:
        raise SidecarError(
            "forbidden_origin",
            "Requests from web pages or under another host name are refused.",
            fix="Call it from a program, by the address that it was started with.",
            http_status=403,
        )
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {access.token}".encode()):
        raise SidecarError(
            "unauthorized", "The bearer token is missing or wrong.", fix="Send the token that the process was given.",
            http_status=401,
        )  # fmt: skip
    if request.method == "POST" and not request.headers.get("content-type", "").startswith("application/json"):
        raise SidecarError(
            "unsupported_media_type", "The body is not JSON.", fix="Send content-type: application/json.",
            http_status=415,
        )  # fmt: skip
