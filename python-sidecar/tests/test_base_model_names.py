"""What a base model's name means, and what is left of work that was killed; nothing here needs torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from apprentice_sidecar.base_models.resolve import resolve_base
from apprentice_sidecar.base_models.scratch import scratch_folder
from apprentice_sidecar.errors import SidecarError


def test_a_gguf_file_that_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(SidecarError) as caught:
        resolve_base(str(tmp_path / "missing.GGUF"), tmp_path, lambda _: None)
    assert caught.value.code == "gguf_not_found"
    assert "missing.GGUF" in caught.value.message


def test_folders_and_hub_ids_stay_as_they_are(tmp_path: Path) -> None:
    for name in (str(tmp_path), "owner/model"):
        assert resolve_base(name, tmp_path, lambda _: None) == name


def test_scratch_of_dead_processes_goes_and_that_of_living_ones_stays(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, living = tmp_path / f".partial-{gone.pid}-x", tmp_path / f".partial-{os.getpid()}-x"
    for folder in (dead, living):
        folder.mkdir()
    with scratch_folder(tmp_path) as scratch:
        assert scratch.is_dir()
        assert not dead.exists()
        assert living.exists()
    assert not scratch.exists()


def test_scratch_that_was_moved_away_is_kept(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as scratch:
        (scratch / "a").write_text("whole")
        scratch.replace(tmp_path / "done")
    assert (tmp_path / "done" / "a").read_text() == "whole"
