"""Routes by which adapter folders travel between owners and a host of its own: whole, verified, resumed after a cut."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from ..checkpoints import MANIFEST, read_adapter, read_manifest
from ..errors import SidecarError
from ..protocol import FinishUpload, UploadListing, parse
from .security import Access
from .uploads import FILE_NAME, Uploads, sha256_of

Handler = Callable[[Request], Awaitable[Response]]
_UPLOAD_ID = re.compile(r"[0-9a-f]{64}")


class Transfers:
    """Downloads by folder and file, uploads by the digest of their listing."""

    def __init__(self, access: Access, *, base_digest: str) -> None:
        assert access.root is not None
        self._access = access
        self._root = access.root
        self._base_digest = base_digest
        self._uploads = Uploads(access.root / "uploads")

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each route."""
        return [
            ("GET", "/adapter", self._list),
            ("GET", "/adapter/{file}", self._download),
            ("POST", "/uploads", self._begin),
            ("PUT", "/uploads/{upload}/{file}", self._receive),
            ("POST", "/uploads/{upload}/finish", self._finish),
            ("DELETE", "/uploads/{upload}", self._drop),
        ]

    async def _list(self, request: Request) -> Response:
        folder = self._folder(request.query_params.get("folder", ""), "folder")
        manifest = read_manifest(folder)
        if manifest is None or not isinstance(manifest.get("files"), dict):
            raise _no_adapter(folder)
        names = sorted([*manifest["files"], MANIFEST])
        files = await asyncio.to_thread(lambda: {name: _describe(folder / name) for name in names})
        return JSONResponse({"folder": request.query_params["folder"], "digest": manifest["digest"], "files": files})

    async def _download(self, request: Request) -> Response:
        folder = self._folder(request.query_params.get("folder", ""), "folder")
        path = folder / _file_name(request)
        if path.is_symlink() or not path.is_file():
            raise _no_adapter(folder)
        # Answers `Range`, by which a download that was cut goes on.
        return FileResponse(path, media_type="application/octet-stream")

    async def _begin(self, request: Request) -> Response:
        try:
            body: Any = json.loads(await request.body())
        except (ValueError, ClientDisconnect) as error:
            raise SidecarError("invalid_json", f"The body is not JSON: {error}.", fix="Send a JSON object.") from error
        listing = parse(UploadListing, body)
        upload = await asyncio.to_thread(self._uploads.begin, listing)
        return JSONResponse(
            {"upload": upload, "folder": f"uploads/{upload}", "received": self._uploads.received(upload)}
        )

    async def _receive(self, request: Request) -> Response:
        upload, name = _upload_id(request), _file_name(request)
        offset = request.headers.get("upload-offset", "")
        if not offset.isdecimal():
            raise SidecarError("invalid_request", f"Upload-Offset is {offset!r}.", fix="Give a whole number.",
                               param="Upload-Offset")  # fmt: skip
        with self._uploads.writer(upload, name, int(offset)) as writer:
            try:
                async for chunk in request.stream():
                    writer.write(chunk)
            except ClientDisconnect:
                # What has arrived stays: the next request goes on from there.
                return Response(status_code=499)
        received = await asyncio.to_thread(self._uploads.complete, upload, name)
        return JSONResponse({"received": received})

    async def _finish(self, request: Request) -> Response:
        upload = _upload_id(request)
        wanted = parse(FinishUpload, json.loads(await request.body()))
        target = self._folder(wanted.folder, "folder")
        return JSONResponse(await asyncio.to_thread(self._move, upload, target, wanted.folder))

    def _move(self, upload: str, target: Path, named: str) -> dict[str, Any]:
        """Puts a verified adapter in its place, unless the same one is there already."""
        there = read_manifest(target)
        source = self._uploads.folder(upload)
        if there is None or source.is_dir():
            self._uploads.check_complete(upload)
            digest = read_adapter(source, expect_base_digest=self._base_digest).digest
            if there is None and not target.exists():
                self._uploads.move(upload, target)
                return {"folder": named, "digest": digest}
        else:
            digest = str(there["digest"])
        if there is None or there.get("digest") != digest:
            raise SidecarError(
                "folder_taken",
                f"{named} exists on this host and holds something else.",
                fix="Use another state folder, or another name for the adapter.",
                http_status=409,
                param="folder",
            )
        self._uploads.drop(upload)
        return {"folder": named, "digest": digest}

    async def _drop(self, request: Request) -> Response:
        await asyncio.to_thread(self._uploads.drop, _upload_id(request))
        return JSONResponse({"status": "dropped"})

    def _folder(self, text: str, param: str) -> Path:
        return self._root / self._access.folder(text, param)


def _describe(path: Path) -> dict[str, object]:
    if path.is_symlink() or not path.is_file():
        raise _no_adapter(path.parent)
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _file_name(request: Request) -> str:
    name = str(request.path_params["file"])
    if FILE_NAME.fullmatch(name) is None:
        raise SidecarError("invalid_request", f"{name!r} is no file of an adapter.",
                           fix="Ask for a file of its listing.", param="file")  # fmt: skip
    return name


def _upload_id(request: Request) -> str:
    upload = str(request.path_params["upload"])
    if _UPLOAD_ID.fullmatch(upload) is None:
        raise SidecarError(
            "upload_not_found", f"There is no upload {upload!r}.", fix="Begin it first.", http_status=404
        )
    return upload


def _no_adapter(folder: Path) -> SidecarError:
    return SidecarError(
        "adapter_not_found",
        f"There is no complete adapter in {folder.name!r} of {folder.parent.parent.name!r}.",
        fix="Give the folder that a finished training job named.",
        http_status=404,
        param="folder",
    )
