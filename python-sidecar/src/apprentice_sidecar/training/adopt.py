"""Takes a plain PEFT folder, trained elsewhere on the same base model, as an adapter step of our own."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from peft.utils import get_peft_model_state_dict

from ..base_model import BaseModel
from ..checkpoints import read_plain_adapter, write_adapter
from ..errors import SidecarError
from ..peft_tree import peft_tree
from ..protocol import AdoptRequest

#: Tokens of the canary: no row was trained here, so it is an arbitrary sequence.
CANARY_TOKENS = 64


def adopt_adapter(base: BaseModel, request: AdoptRequest) -> dict[str, Any]:
    """Checks the tensors against the base model and writes the folder, with a fresh optimizer; gives its reference."""
    source, target = Path(request.source), Path(request.adapter.folder)
    if target.exists():
        raise SidecarError(
            "folder_taken",
            f"{target} exists.",
            fix="Adopt into another step, or remove the folder.",
            http_status=409,
            param="adapter.folder",
        )
    config, tensors = read_plain_adapter(source)
    try:
        model = peft_tree(base, config, {name: value.float() for name, value in tensors.items()})
    except ValueError as error:
        raise _refused(source, str(error)) from error
    manifest = write_adapter(
        target,
        config=config | {"base_model_name_or_path": base.name, "inference_mode": True},
        tensors=get_peft_model_state_dict(model),
        optimizer=_fresh_optimizer(model),
        manifest={
            "name": request.adapter.name,
            "step": request.adapter.step,
            "job_id": None,
            "request_digest": None,
            "parent_digest": None,
            "base_digest": base.digest,
            "tokenizer_digest": base.tokenizer_digest,
            "created_at": datetime.now(timezone.utc).isoformat(),
            "canary": _canary(base, model),
            "metrics": {},
        },
    )
    spec = request.adapter
    return {"name": spec.name, "step": spec.step, "folder": spec.folder, "digest": manifest["digest"]}


def _fresh_optimizer(model: Any) -> dict[str, torch.Tensor]:
    """AdamW's state before its first step."""
    state: dict[str, torch.Tensor] = {}
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            continue
        state |= {
            f"{name}.step": torch.tensor(0.0),
            f"{name}.exp_avg": torch.zeros_like(parameter),
            f"{name}.exp_avg_sq": torch.zeros_like(parameter),
        }
    return state


@torch.no_grad()
def _canary(base: BaseModel, model: Any) -> dict[str, Any]:
    count = min(CANARY_TOKENS + 1, base.context_length)
    ids = [(7919 * place + 13) % int(base.model.config.vocab_size) for place in range(count)]
    given = torch.tensor(ids, device=base.device)
    logits = model(input_ids=given[None], use_cache=False).logits[0]
    logprobs = torch.log_softmax(logits[:-1].float(), dim=-1).gather(-1, given[1:, None])[:, 0]
    return {"token_ids": ids, "first": 1, "logprobs": logprobs.tolist()}


def _refused(folder: Path, why: str) -> SidecarError:
    return SidecarError(
        "adapter_invalid",
        f"The adapter in {folder} is refused: {why}.",
        fix="Adopt only what was trained on this very base model.",
        http_status=422,
        param="source",
    )
