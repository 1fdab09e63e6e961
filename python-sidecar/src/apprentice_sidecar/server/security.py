"""Who may ask: this machine only, with the token, from no web page."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from ..errors import SidecarError


def check(request: Request, token: str) -> None:
    """Raises SidecarError 401, 403 or 415; every route calls it first."""
    host = request.headers.get("host", "").rsplit(":", 1)[0]
    if host not in ("127.0.0.1", "localhost") or "origin" in request.headers:
        raise SidecarError(
            "forbidden_origin",
            "Requests from web pages or under another host name are refused.",
            fix="Call http://127.0.0.1 from a program.",
            http_status=403,
        )
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise SidecarError(
            "unauthorized", "The bearer token is missing or wrong.", fix="Send the token that the process was given.",
            http_status=401,
        )  # fmt: skip
    if request.method == "POST" and not request.headers.get("content-type", "").startswith("application/json"):
        raise SidecarError(
            "unsupported_media_type", "The body is not JSON.", fix="Send content-type: application/json.",
            http_status=415,
        )  # fmt: skip
