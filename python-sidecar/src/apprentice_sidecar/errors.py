"""One error for every fault that a client can act on: stable code, what happened, what to do."""

from __future__ import annotations


class SidecarError(Exception):
    """A fault with a code, a fix, and the HTTP status under which it is reported."""

    def __init__(self, code: str, message: str, *, fix: str, http_status: int = 400, param: str | None = None) -> None:
        super().__init__(f"{message} {fix}")
        self.code = code
        self.message = message
        self.fix = fix
        self.http_status = http_status
        self.param = param

    def to_body(self) -> dict[str, object]:
        """The error in OpenAI's form."""
        kind = "invalid_request_error" if self.http_status < 500 else "server_error"
        return {
            "error": {"message": f"{self.message} {self.fix}", "type": kind, "param": self.param, "code": self.code}
        }
