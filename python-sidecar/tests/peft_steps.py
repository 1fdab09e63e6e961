"""Steps that PEFT has made on a small random model, and what the serving tree makes of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import LlamaConfig, LlamaForCausalLM

from apprentice_sidecar.base_model import BaseModel
from apprentice_sidecar.checkpoints import write_adapter
from apprentice_sidecar.serving.adapters import ServingTree
from apprentice_sidecar.serving.forward import Piece
from apprentice_sidecar.serving.key_values import KeyValueStore

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
PLAIN: dict[str, Any] = {"r": 3, "lora_alpha": 5, "target_modules": PROJECTIONS}
IDS = [3, 4, 5, 9, 8, 7, 3, 1, 12, 20]
FIRST = 4


def base_of(architecture: Any = LlamaForCausalLM, settings: Any = LlamaConfig, dtype: str = "float32") -> BaseModel:
    """Four heads of queries share two of keys, and no two sides of a matrix are equally long."""
    torch.manual_seed(0)
    shape = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "head_dim": 16,
             "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}  # fmt: skip
    model = architecture(settings(**shape)).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn_like(parameter) * 0.2 + (1.0 if "norm" in name else 0.0)
    nothing: Any = None
    return BaseModel("small", model.to(getattr(torch, dtype)), nothing, "sha256:b", "sha256:t", "sha256:c", 64, dtype)


class Step:
    """A step that PEFT has made: its folder, and what PEFT's model computes."""

    def __init__(self, base: BaseModel, folder: Path, number: int = 1, **config: Any) -> None:
        torch.manual_seed(number)
        self.name = f"a@{number}"
        self.folder = folder / str(number)
        lora = LoraConfig(**config)
        self.model: Any = get_peft_model(copy.deepcopy(base.model), lora).eval()  # pyright: ignore[reportArgumentType] -- PEFT's stub
        self.tensors = {
            name: value if value.dtype != torch.float32 else torch.randn_like(value) * 0.3
            for name, value in get_peft_model_state_dict(self.model).items()
        }
        set_peft_model_state_dict(self.model, dict(self.tensors))
        self.config = {
            name: sorted(value) if isinstance(value, set) else value for name, value in lora.to_dict().items()
        }
        self.write()

    def write(self, **changes: Any) -> None:
        """The folder; `changes` of the configuration."""
        logprobs = torch.log_softmax(self.logits(), -1)[:-1].gather(-1, torch.tensor(IDS[FIRST:])[:, None])[:, 0]
        canary = {"token_ids": IDS, "first": FIRST, "logprobs": logprobs.tolist()}
        name, number = self.name.split("@")
        manifest = {"name": name, "step": int(number), "base_digest": "sha256:b", "canary": canary}
        write_adapter(self.folder, config=self.config | changes, tensors=self.tensors, optimizer={}, manifest=manifest)

    @torch.no_grad()
    def logits(self) -> torch.Tensor:
        return self.model(input_ids=torch.tensor([IDS])).logits[0, FIRST - 1 :].float()

    def publish(self, tree: ServingTree) -> None:
        with torch.no_grad():
            tree.publish(self.name, self.folder)


@torch.no_grad()
def gap(tree: ServingTree, step: Step) -> float:
    """Largest difference of the served logits from PEFT's."""
    return float((served_logits(tree, step.name) - step.logits()).abs().max())


def served_logits(tree: ServingTree, name: str) -> torch.Tensor:
    store = KeyValueStore(tree.shapes, tree.dtype, rows=1)
    store.ensure(len(IDS))
    return tree.route(name).prefill(store, [Piece(0, 0, IDS, name)], torch.arange(FIRST - 1, len(IDS)))
