"""Adapter folders: written whole or not at all, read only when everything about them is right."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .errors import SidecarError
from .marks import passing

ADAPTER = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
OPTIMIZER = "optimizer.safetensors"
MANIFEST = "manifest.json"
FORMAT = 1
#: A header longer than this is an attack or a mistake, not an adapter.
MAX_HEADER_BYTES = 16 * 1024 * 1024
ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class AdapterCheckpoint:
    """A verified adapter: its manifest, its PEFT configuration and its tensors by PEFT name."""

    folder: Path
    manifest: dict[str, Any]
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def digest(self) -> str:
        """Digest over the digests of all files."""
        return str(self.manifest["digest"])

    def optimizer(self) -> dict[str, Tensor]:
        """AdamW's state by `<name>.exp_avg`, `<name>.exp_avg_sq`, `<name>.step`; verified with the rest."""
        return load((self.folder / OPTIMIZER).read_bytes())


def write_adapter(
    folder: Path,
    *,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    manifest: Mapping[str, Any],
) -> dict[str, Any]:
    """Writes an adapter into `folder`, which must not exist; gives the manifest as written.

    Everything is written and synced under a temporary name beside it, the manifest last, and then renamed, so that a
    reader finds either nothing or all of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    temporary.mkdir(mode=0o700)
    try:
        contents = {
            CONFIG: json.dumps(dict(config), indent=1, sort_keys=True).encode(),
            ADAPTER: save({name: value.detach().contiguous() for name, value in tensors.items()}),
            OPTIMIZER: save({name: value.detach().contiguous() for name, value in optimizer.items()}),
        }
        for name, content in contents.items():
            _write_synced(temporary / name, content)
        files = {name: _sha256(content) for name, content in contents.items()}
        written = {"format": FORMAT, **manifest, "files": files, "digest": _digest_of(files)}
        _write_synced(temporary / MANIFEST, json.dumps(written, indent=1).encode())
        _sync_folder(temporary)
        passing("checkpoint-written")
        temporary.rename(folder)
        _sync_folder(folder.parent)
        passing("checkpoint-renamed")
        return written
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a complete adapter; None where there is none."""
    try:
        value: Any = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType] -- checked by readers


def read_adapter(folder: Path, *, expect_base_digest: str) -> AdapterCheckpoint:
    """Reads and verifies an adapter. Raises SidecarError: `adapter_not_found` or `adapter_invalid`."""
    if not folder.is_dir():
        raise SidecarError(
            "adapter_not_found",
            f"There is no adapter folder {folder}.",
            fix="Give the folder that a finished training job named.",
            http_status=404,
            param="lora_path",
        )
    manifest = read_manifest(folder)
    if manifest is None or manifest.get("format") != FORMAT or not isinstance(manifest.get("files"), dict):
        raise adapter_invalid(folder, f"its {MANIFEST} is missing or not of format {FORMAT}")
    if manifest.get("base_digest") != expect_base_digest:
        raise adapter_invalid(folder, "it was trained on another base model")
    contents = {name: _read_file(folder, name) for name in (CONFIG, ADAPTER, OPTIMIZER)}
    files = {name: _sha256(content) for name, content in contents.items()}
    if files != manifest["files"] or _digest_of(files) != manifest.get("digest"):
        changed = next((name for name in files if manifest["files"].get(name) != files[name]), MANIFEST)
        raise adapter_invalid(folder, f"{changed} does not match its digest")
    config, tensors = _parse(folder, contents)
    return AdapterCheckpoint(folder, manifest, config, tensors)


def read_plain_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a PEFT folder from elsewhere, which has no manifest. Raises SidecarError."""
    if not folder.is_dir():
        raise SidecarError(
            "adapter_not_found",
            f"There is no folder {folder}.",
            fix=f"Give a folder that holds {CONFIG} and {ADAPTER}.",
            http_status=404,
            param="source",
        )
    return _parse(folder, {name: _read_file(folder, name) for name in (CONFIG, ADAPTER)})


def check_shapes(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError with the first name that only one of the two has, or whose shapes differ."""
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != found:
        odd = sorted(set(expected.items()) ^ set(found.items()))[0][0]
        raise ValueError(f"the tensor {odd} does not fit the base model and its configuration")


def _parse(folder: Path, contents: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    header = int.from_bytes(contents[ADAPTER][:8], "little")
    if header > MAX_HEADER_BYTES:
        raise adapter_invalid(folder, f"the header of {ADAPTER} claims {header} bytes")
    try:
        config: Any = json.loads(contents[CONFIG])
        tensors = load(contents[ADAPTER])
    except (ValueError, SafetensorError) as error:
        raise adapter_invalid(folder, f"it cannot be parsed: {error}") from error
    if not isinstance(config, dict):
        raise adapter_invalid(folder, f"{CONFIG} is not an object")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise adapter_invalid(folder, f"the tensor {name} holds values that are not finite")
    return config, tensors  # pyright: ignore[reportUnknownVariableType] -- from JSON


def _read_file(folder: Path, name: str) -> bytes:
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise adapter_invalid(folder, f"{name} cannot be opened: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def adapter_invalid(folder: Path, why: str) -> SidecarError:
    """The refusal of an adapter that cannot be right."""
    return SidecarError(
        "adapter_invalid",
        f"The adapter in {folder} is refused: {why}.",
        fix="Train the step again, or restore the folder from a copy; what is served stays as it is.",
        http_status=422,
        param="lora_path",
    )


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _digest_of(files: Mapping[str, str]) -> str:
    return _sha256(json.dumps(dict(files), sort_keys=True).encode())
