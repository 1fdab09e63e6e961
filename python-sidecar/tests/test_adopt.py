"""Adapters from elsewhere: the same weights under our own manifest, or a refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from apprentice_sidecar.checkpoints import read_adapter
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import AdoptRequest, parse
from apprentice_sidecar.serving.adapters import ServingTree
from apprentice_sidecar.training.adopt import adopt_adapter
from apprentice_sidecar.training.trainer import run_job
from tiny import request, row, tiny_base

ROWS = [row(0, "g", [1, 2, 3, 4, 5], [3, 4], 1.0), row(1, "g", [1, 2, 3, 9, 8], [3, 4], -1.0)]


def plain_folder(tmp_path: Path) -> Path:
    """PEFT's two files of a trained step."""
    for _ in run_job(tiny_base(), request(tmp_path / "trained", ROWS), "d", lambda: False):
        pass
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(tmp_path / "trained" / name, folder / name)
    return folder


def adopting(source: Path, target: Path, step: int = 7) -> AdoptRequest:
    return parse(AdoptRequest, {"source": str(source), "adapter": {"name": "a", "step": step, "folder": str(target)}})


def test_an_adopted_adapter_has_the_same_weights_serves_and_trains_on(tmp_path: Path) -> None:
    base = tiny_base()
    adopted = adopt_adapter(base, adopting(plain_folder(tmp_path), tmp_path / "7"))
    assert (adopted["name"], adopted["step"]) == ("a", 7)
    ours = read_adapter(tmp_path / "7", expect_base_digest=base.digest)
    trained = read_adapter(tmp_path / "trained", expect_base_digest=base.digest)
    assert ours.tensors.keys() == trained.tensors.keys()
    assert all(torch.equal(value, trained.tensors[name]) for name, value in ours.tensors.items())
    served = ServingTree(base).publish("a@7", tmp_path / "7")
    assert served.canary["max_gap"] < 1e-3 < served.canary["base_gap"]
    spec = {"name": "a", "step": 8, "parent": str(tmp_path / "7"), "folder": str(tmp_path / "8"),
            "lora": {"rank": 4, "alpha": 8}}  # fmt: skip
    events = list(run_job(base, request(tmp_path / "8", ROWS, adapter=spec, job_id="next"), "d", lambda: False))
    assert events[-1]["type"] == "ended"


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    base = tiny_base()
    source = plain_folder(tmp_path)
    with pytest.raises(SidecarError, match="There is no folder"):
        adopt_adapter(base, adopting(tmp_path / "nowhere", tmp_path / "7"))
    with pytest.raises(SidecarError, match="exists"):
        adopt_adapter(base, adopting(source, tmp_path / "trained"))
    config = json.loads((source / "adapter_config.json").read_text())
    (source / "adapter_config.json").write_text(json.dumps(config | {"r": 2}))
    with pytest.raises(SidecarError, match="does not fit the base model"):
        adopt_adapter(base, adopting(source, tmp_path / "7"))
    (source / "adapter_model.safetensors").write_bytes(b"\0" * 16)
    with pytest.raises(SidecarError, match="cannot be parsed"):
        adopt_adapter(base, adopting(source, tmp_path / "7"))
    assert not (tmp_path / "7").exists()
