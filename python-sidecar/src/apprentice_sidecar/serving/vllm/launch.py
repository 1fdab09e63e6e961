"""How vLLM is started: its command and its environment, as pure functions of the settings. Written for vLLM 0.31.0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...connections import KEEP_ALIVE_SECONDS

#: The name under which vLLM serves the base model, as our own engine does.
BASE = "base"
#: Of the sidecar's environment, what would change vLLM's behaviour behind our back. Kubernetes sets
#: `VLLM_SERVICE_HOST` and the like for a service that is called vllm, and vLLM takes them for settings.
_INHERITED_AND_HARMFUL = ("PYTHONPATH", "PYTHONHOME", "APPRENTICE_SIDECAR_TOKEN")


@dataclass(frozen=True)
class VllmSettings:
    """What a launch depends on."""

    #: interpreter of the environment that holds vLLM
    python: str
    #: folder or hub id of the base model
    model: str
    port: int
    api_key: str
    device: Literal["cpu", "cuda"] = "cpu"
    #: GPUs that hold the model together, as torch counts them; without meaning on a CPU
    gpus: tuple[int, ...] = (0,)
    #: whether the trainer is on its GPU, too; it then sleeps while a step is trained
    shares_gpu: bool = True
    #: part of its GPU's memory that it takes; None: vLLM's own default
    gpu_memory: float | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    #: prompt and answer together, tokens
    context_length: int = 2048
    #: the rank that buffers are allocated for, for every slot and module: the true rank, not a generous one
    max_lora_rank: int = 8
    #: adapters that one batch may mix; more of them queue
    max_loras: int = 2
    #: adapters that are kept in memory, least recently used first out; unloading only forgets a name
    max_cpu_loras: int = 8
    #: None: this family's tool calls are not read, and stay text
    tool_call_parser: str | None = "hermes"
    reasoning_parser: str | None = None
    #: OpenMP threads, on a CPU
    threads: int = 1
    #: memory for keys and values on a CPU, GiB
    kv_cache_gib: int = 1


def launch_command(settings: VllmSettings) -> list[str]:
    """The arguments, the interpreter first. The API key is not among them: other users can read arguments."""
    command = [
        settings.python, "-m", "vllm.entrypoints.openai.api_server",
        "--model", settings.model,
        "--served-model-name", BASE,
        "--host", "127.0.0.1",
        "--port", str(settings.port),
        "--dtype", settings.dtype,
        "--max-model-len", str(settings.context_length),
        # The model's own sampling defaults would be applied without being recorded.
        "--generation-config", "vllm",
        # Before temperature, top_p and grammar masks: what the trainer computes.
        "--logprobs-mode", "raw_logprobs",
        "--enable-lora",
        "--max-lora-rank", str(settings.max_lora_rank),
        "--max-loras", str(settings.max_loras),
        "--max-cpu-loras", str(settings.max_cpu_loras),
    ]  # fmt: skip
    if settings.tool_call_parser is not None:
        command += ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_call_parser]
    if settings.reasoning_parser is not None:
        command += ["--reasoning-parser", settings.reasoning_parser]
    if settings.device == "cpu":
        command.append("--enforce-eager")
    else:
        if settings.gpu_memory is not None:
            command += ["--gpu-memory-utilization", str(settings.gpu_memory)]
        if len(settings.gpus) > 1:
            command += ["--tensor-parallel-size", str(len(settings.gpus))]
        if settings.shares_gpu:
            command.append("--enable-sleep-mode")
    return command


def launch_environment(settings: VllmSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """vLLM's whole environment: what is inherited and harmless, and ours."""
    kept = {name: value for name, value in inherited.items() if not _is_harmful(name)}
    ours = {
        "VLLM_API_KEY": settings.api_key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        # Routes to pause and resume. vLLM asks for the key under /v1 only: who may connect to this machine's loopback
        # could call these.
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(KEEP_ALIVE_SECONDS),  # instead of 5 seconds
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if settings.device == "cpu":
        ours |= {
            "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(settings.threads),
            # A spinning barrier on shared cores waits for a thread that is not scheduled.
            "OMP_WAIT_POLICY": "PASSIVE",
        }
    else:
        ours["CUDA_VISIBLE_DEVICES"] = _visible(settings.gpus, kept.get("CUDA_VISIBLE_DEVICES", ""))
        # The allocator that sleeps cannot have expandable segments.
        for name in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"):
            if name in kept:
                kept[name] = _without_expandable_segments(kept[name])
    return kept | ours


def _is_harmful(name: str) -> bool:
    return name in _INHERITED_AND_HARMFUL or name.startswith(("VLLM_SERVICE_", "VLLM_PORT"))


def _visible(gpus: tuple[int, ...], inherited: str) -> str:
    """The GPUs for a child of a process that itself sees only some of them, and counts those from 0."""
    names = [name.strip() for name in inherited.split(",") if name.strip()]
    return ",".join(names[gpu] if gpu < len(names) else str(gpu) for gpu in gpus)


def _without_expandable_segments(configuration: str) -> str:
    parts = [part.strip() for part in configuration.split(",")]
    return ",".join(part for part in parts if part and not part.startswith("expandable_segments"))
