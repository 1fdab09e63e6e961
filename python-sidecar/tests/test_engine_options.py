"""What is loaded is what was asked for, or the start is refused with the name of the option."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from apprentice_sidecar.engine_options import add_engine_options, load_engines
from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.serving.transformers import TransformersServing
from apprentice_sidecar.serving.vllm.engine import VllmServing

MODEL = Path(__file__).parents[1] / "tiny-model" / "model"


def options(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return parser.parse_args(["--model", str(MODEL), *given])


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        (["--serving", "vllm"], "serving_python_missing", "serving-python"),
        (["--serving-python", "/py"], "serving_option_unused", "serving-python"),
        (["--tool-call-parser", "hermes"], "serving_option_unused", "tool-call-parser"),
        (["--serving-state", "/s"], "serving_option_unused", "serving-state"),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name_before_anything_is_loaded(
    given: list[str], code: str, param: str
) -> None:
    with pytest.raises(SidecarError) as refused:
        load_engines(options(*given), lambda stage, text: pytest.fail(f"{stage}: {text}"))
    assert (refused.value.code, refused.value.param) == (code, param)


def test_our_own_engine_serves_unless_vllm_is_asked_for() -> None:
    engines = load_engines(options(), lambda _stage, _text: None)
    assert isinstance(engines.serving, TransformersServing)
    assert engines.serving.health() == {}


def test_vllm_is_made_for_the_same_model_and_started_later(tmp_path: Path) -> None:
    given = options("--serving", "vllm", "--serving-python", "/py", "--serving-state", str(tmp_path / "state"),
                    "--context-length", "512", "--reasoning-parser", "qwen3", "--threads", "1")  # fmt: skip
    engines = load_engines(given, lambda _stage, _text: None)
    assert isinstance(engines.serving, VllmServing)
    settings = engines.serving._supervisor.settings
    assert (settings.python, settings.model, settings.context_length) == ("/py", str(MODEL), 512)
    assert (settings.tool_call_parser, settings.reasoning_parser, settings.threads) == ("hermes", "qwen3", 1)
    assert engines.serving.health()["serving"]["pid"] is None
    assert not (tmp_path / "state").exists()
