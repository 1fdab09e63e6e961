"""Uploads in the making: a folder of files, named after the digest of its listing, so that a cut one is found again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import SidecarError
from ..protocol import UploadListing, parse

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.(json|safetensors)")
#: Uploads that nobody finished are removed by a start after this time.
KEPT_SECONDS = 24 * 3600
#: Left free on the disk.
SPARE_BYTES = 256 * 1024 * 1024
_PIECE = 1024 * 1024


class Writer:
    """Appends to one file until a later request for the same file takes over."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self._file = file
        self._room = room
        self.superseded = False

    def write(self, chunk: bytes) -> None:
        """Raises SidecarError 409 where another request goes on, 413 where more comes than was announced."""
        if self.superseded:
            raise SidecarError(
                "upload_superseded", "Another request goes on with this file.", fix="Leave it to that.", http_status=409
            )
        if len(chunk) > self._room:
            raise SidecarError("upload_too_long", "More bytes come than were announced.", fix="Begin anew.",
                               http_status=413)  # fmt: skip
        self._file.write(chunk)
        self._room -= len(chunk)


class Uploads:
    """Keeps each upload in `<root>/<id>` with its listing beside it; survives a restart."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._writers: dict[tuple[str, str], Writer] = {}
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for listing in root.glob("*.json"):
            if time.time() - listing.stat().st_mtime > KEPT_SECONDS:
                self.drop(listing.stem)

    def begin(self, listing: UploadListing) -> str:
        """Begins an upload or finds the one that was cut; gives its id. Raises SidecarError 507 on a full disk."""
        for name in listing.files:
            if FILE_NAME.fullmatch(name) is None:
                raise SidecarError("invalid_request", f"{name!r} cannot be a file of an adapter.",
                                   fix="Send JSON and safetensors files only.", param="files")  # fmt: skip
        text = json.dumps(listing.model_dump(), sort_keys=True)
        upload = hashlib.sha256(text.encode()).hexdigest()
        missing = sum(file.bytes for file in listing.files.values())
        if self.folder(upload).is_dir():
            missing -= sum(self.received(upload).values())
        free = shutil.disk_usage(self._root).free
        if missing + SPARE_BYTES > free:
            raise SidecarError(
                "disk_full",
                f"{missing} bytes are to come, but the disk of the state folder has {free} left.",
                fix="Free some space there; the upload goes on where it was.",
                http_status=507,
            )
        self.folder(upload).mkdir(exist_ok=True, mode=0o700)
        self._listing_file(upload).write_text(text)
        return upload

    def folder(self, upload: str) -> Path:
        """Where the files gather."""
        return self._root / upload

    def received(self, upload: str) -> dict[str, int]:
        """How many bytes of each file are there."""
        return {name: self._size(upload, name) for name in self._listing(upload).files}

    @contextmanager
    def writer(self, upload: str, name: str, offset: int) -> Iterator[Writer]:
        """Goes on with a file at `offset`; an older request for it, perhaps one whose line was cut, ends."""
        announced = self._listing(upload).files.get(name)
        if announced is None:
            raise SidecarError(
                "invalid_request", f"{name} was not announced.", fix="Begin another upload.", param="file"
            )
        older = self._writers.get((upload, name))
        if older is not None:
            older.superseded = True
        there = self._size(upload, name)
        if offset != there:
            raise SidecarError(
                "upload_offset", f"{there} bytes of {name} are there, not {offset}.", fix="Go on from there.",
                http_status=409, param="Upload-Offset",
            )  # fmt: skip
        # Unbuffered: what was written is there for whoever takes over.
        with self._part(upload, name).open("ab", buffering=0) as file:
            writer = Writer(file, announced.bytes - there)
            self._writers[upload, name] = writer
            try:
                yield writer
            finally:
                os.fsync(file.fileno())
                if self._writers.get((upload, name)) is writer:
                    del self._writers[upload, name]

    def complete(self, upload: str, name: str) -> int:
        """Verifies a file of which all bytes are there; gives how many there are."""
        announced = self._listing(upload).files[name]
        part, there = self._part(upload, name), self._size(upload, name)
        if there < announced.bytes or not part.exists():
            return there
        if sha256_of(part) != announced.sha256:
            part.unlink()
            raise SidecarError(
                "upload_corrupt", f"{name} arrived with another digest than announced.", fix="Send it again.",
                http_status=422, param="file",
            )  # fmt: skip
        part.rename(self.folder(upload) / name)
        return there

    def check_complete(self, upload: str) -> None:
        """Raises SidecarError 409 where a file is not there yet."""
        for name in self._listing(upload).files:
            if not (self.folder(upload) / name).is_file():
                raise SidecarError("upload_incomplete", f"{name} has not arrived whole.", fix="Send the rest.",
                                   http_status=409, param="file")  # fmt: skip

    def move(self, upload: str, target: Path) -> None:
        """Puts the whole folder into its place, synced."""
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(self.folder(upload))
        self.folder(upload).rename(target)
        _sync(target.parent)
        self._listing_file(upload).unlink()

    def drop(self, upload: str) -> None:
        """Removes what has arrived of an upload."""
        shutil.rmtree(self.folder(upload), ignore_errors=True)
        self._listing_file(upload).unlink(missing_ok=True)

    def _listing(self, upload: str) -> UploadListing:
        try:
            return parse(UploadListing, json.loads(self._listing_file(upload).read_text()))
        except (FileNotFoundError, ValueError) as error:
            raise SidecarError("upload_not_found", f"There is no upload {upload}.", fix="Begin it first.",
                               http_status=404) from error  # fmt: skip

    def _size(self, upload: str, name: str) -> int:
        for path in (self.folder(upload) / name, self._part(upload, name)):
            if path.is_file():
                return path.stat().st_size
        return 0

    def _part(self, upload: str, name: str) -> Path:
        return self.folder(upload) / f"{name}.part"

    def _listing_file(self, upload: str) -> Path:
        return self._root / f"{upload}.json"


def sha256_of(path: Path) -> str:
    """Digest of a file, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
