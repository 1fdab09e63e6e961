"""What vLLM is started and asked with, and that nothing outlives its guard."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from apprentice_sidecar.errors import SidecarError
from apprentice_sidecar.protocol import ChatRequest, parse
from apprentice_sidecar.serving.vllm import guard
from apprentice_sidecar.serving.vllm.dialect import to_vllm_request
from apprentice_sidecar.serving.vllm.launch import VllmSettings, launch_command, launch_environment

CPU = VllmSettings(python="py", model="/m", port=4711, api_key="key")
CUDA = VllmSettings(
    python="py", model="/m", port=4711, api_key="key", device="cuda", dtype="bfloat16", reasoning_parser="qwen3"
)


def test_the_command_on_a_cpu() -> None:
    assert " ".join(launch_command(CPU)) == (
        "py -m vllm.entrypoints.openai.api_server --model /m --served-model-name base --host 127.0.0.1 --port 4711 "
        "--dtype float32 --max-model-len 2048 --generation-config vllm --logprobs-mode raw_logprobs "
        "--enable-lora --max-lora-rank 8 --max-loras 2 --max-cpu-loras 8 "
        "--enable-auto-tool-choice --tool-call-parser hermes --enforce-eager"
    )


def test_the_command_on_a_gpu_can_sleep_and_reads_reasoning() -> None:
    command = " ".join(launch_command(CUDA))
    assert command.endswith("--tool-call-parser hermes --reasoning-parser qwen3 --enable-sleep-mode")
    assert "--enforce-eager" not in command


def test_gpus_that_are_its_own_hold_the_model_together_and_never_sleep() -> None:
    settings = VllmSettings(
        python="py", model="/m", port=1, api_key="key", device="cuda", gpus=(0, 2), shares_gpu=False
    )
    command = " ".join(launch_command(settings))
    assert command.endswith("--tool-call-parser hermes --tensor-parallel-size 2")
    assert launch_environment(settings, {})["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert launch_environment(settings, {"CUDA_VISIBLE_DEVICES": "3,5,7"})["CUDA_VISIBLE_DEVICES"] == "3,7"


def test_a_gpu_that_is_shared_is_taken_in_part() -> None:
    settings = VllmSettings(python="py", model="/m", port=1, api_key="key", device="cuda", gpus=(1,), gpu_memory=0.6)
    assert " ".join(launch_command(settings)).endswith("--gpu-memory-utilization 0.6 --enable-sleep-mode")
    assert launch_environment(settings, {})["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_key_is_in_the_environment_and_never_in_the_arguments() -> None:
    settings = VllmSettings(python="py", model="/m", port=1, api_key="a-secret")
    assert launch_environment(settings, {})["VLLM_API_KEY"] == "a-secret"
    assert not any("a-secret" in argument for argument in launch_command(settings))


def test_what_would_change_vllm_behind_our_back_is_not_inherited() -> None:
    inherited = {
        "PATH": "/bin",
        "PYTHONPATH": "/ours",
        "APPRENTICE_SIDECAR_TOKEN": "token",
        "VLLM_SERVICE_HOST": "10.0.0.1",
        "VLLM_PORT_80_TCP": "tcp://10.0.0.1:80",
        "VLLM_LOGGING_LEVEL": "DEBUG",
    }
    made = launch_environment(CPU, inherited)
    assert set(inherited) & set(made) == {"PATH", "VLLM_LOGGING_LEVEL"}
    assert made["OMP_WAIT_POLICY"] == "PASSIVE"


def test_the_allocator_of_a_gpu_that_sleeps_has_no_expandable_segments() -> None:
    made = launch_environment(CUDA, {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:64"})
    assert made["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:64"


def _request(**more: object) -> ChatRequest:
    return parse(ChatRequest, {"model": "t@1", "messages": [{"role": "user", "content": "x"}], **more})


def test_a_seed_is_refused_by_name_on_a_cpu_and_passed_on_elsewhere() -> None:
    with pytest.raises(SidecarError) as refused:
        to_vllm_request(_request(seed=7), device="cpu")
    assert refused.value.param == "seed"
    assert to_vllm_request(_request(seed=7), device="cuda")["seed"] == 7


def test_a_request_keeps_what_was_given_and_says_the_sampling() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    body = to_vllm_request(_request(logprobs=True, return_token_ids=True, response_format=schema), device="cpu")
    assert body == {
        "model": "t@1",
        "messages": [{"role": "user", "content": "x"}],
        "logprobs": True,
        "top_logprobs": 0,
        "return_token_ids": True,
        "response_format": schema,
        "temperature": 1.0,
        "top_p": 1.0,
    }


#: A leader that starts another process, as vLLM starts its engine core, and says its id.
_FAMILY = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(float(sys.argv[1]))\n"
)


def _start(notes: Path, seconds: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, str(Path(guard.__file__)), str(notes), sys.executable, "-c", _FAMILY, seconds],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def _is_gone_now(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _is_gone(pid: int) -> bool:
    for _ in range(100):
        if _is_gone_now(pid):
            return True
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return False


def test_all_is_ended_when_the_lifeline_ends(tmp_path: Path) -> None:
    process, grandchild = _start(tmp_path, "60")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=10) == 128 + signal.SIGKILL
    assert _is_gone(grandchild)


def test_what_a_leader_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    process, grandchild = _start(tmp_path, "0")
    assert process.wait(timeout=10) == 0
    assert _is_gone(grandchild)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_guard_leaves_behind_is_found_by_its_note(tmp_path: Path) -> None:
    process, grandchild = _start(tmp_path, "60")
    while not list(tmp_path.glob("vllm-*.json")):
        time.sleep(0.01)
    assert guard.end_left_overs(tmp_path) == []
    process.kill()
    process.wait()
    assert not _is_gone_now(grandchild)
    assert len(guard.end_left_overs(tmp_path)) == 1
    assert _is_gone(grandchild)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_another_process_has_now_is_left_alone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    note = {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    note |= {"guard": {"pid": 2**22 + 1, "started": "1"}, "command": {"pid": process.pid, "started": "1"}}
    (tmp_path / "vllm-4194305.json").write_text(json.dumps(note))
    assert guard.end_left_overs(tmp_path) == []
    assert process.poll() is None
    process.kill()
    process.wait()
