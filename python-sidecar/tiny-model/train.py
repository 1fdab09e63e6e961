"""Trains the tiny base model from nothing, in minutes, on the CPU: `python train.py [--out DIR]`.

Deterministic for one machine type and torch build. The result is committed in `model/`, with what it can do.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from abilities import measure
from dialogues import COPYING, FAMILIAR, WORLD, Dialogue, Mixture, dialogue

HERE = Path(__file__).parent
SPECIAL = ["<|pad|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]


@dataclass(frozen=True)
class Stage:
    """A one-cycle run over `steps`. Phases: (begins at this share of it, mixture, how often the desk is right)."""

    steps: int
    learning_rate: float
    #: Share of names that are made up.
    made_up: float
    phases: tuple[tuple[float, Mixture, float], ...]


#: Copying first, then the desk done right, at the end sloppily; a second time with names of any length.
STAGES = (
    Stage(2600, 3e-3, 0.0, ((0.0, COPYING, 1.0), (0.3, FAMILIAR, 1.0), (0.88, FAMILIAR, 0.4))),
    Stage(800, 1.5e-3, 0.4, ((0.0, FAMILIAR, 1.0), (0.72, FAMILIAR, 0.3))),
)
BATCH = 32
#: Weight of the one token that names the desk's action, against 1 for the other tokens of an answer.
ACTION_WEIGHT = 8.0
SEED = 1


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of at most 1024 entries, in which digits stay single tokens."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=4,
        show_progress=False,
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>")
    fast.chat_template = (HERE / "chat_template.jinja").read_text().rstrip("\n")
    texts: list[Any] = []
    for _ in range(3000):
        item = dialogue(rng, FAMILIAR, 0.3)
        texts.append(fast.apply_chat_template(item["messages"], tools=item.get("tools"), tokenize=False))
    tokenizer.train_from_iterator(texts, trainer)
    trained = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|im_end|>")
    trained.chat_template = fast.chat_template
    return trained


def encode(tokenizer: PreTrainedTokenizerFast, item: Dialogue) -> tuple[list[int], list[float]]:
    """Ids of a dialogue (S) and the weight of predicting each (S): 1 in assistant turns, 0.05 elsewhere."""
    messages, tools = item["messages"], item.get("tools")
    ids: list[int] = []
    weights: list[float] = []
    done = ""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        for end, generation, weight in ((index, True, 0.05), (index + 1, False, 1.0)):
            text: Any = tokenizer.apply_chat_template(
                messages[:end], tools=tools, tokenize=False, add_generation_prompt=generation
            )
            new = tokenizer.encode(text[len(done) :], add_special_tokens=False)
            done = text
            ids.extend(new)
            weights.extend([weight * token_weight(tokenizer, token, message) for token in new])
    return ids, weights


def token_weight(tokenizer: PreTrainedTokenizerFast, token: int, message: dict[str, Any]) -> float:
    """More for the action in a tool call: the desk's rules hang on this one token."""
    named = str(tokenizer.decode([token])).strip(' "')
    return ACTION_WEIGHT if message.get("tool_calls") and named in WORLD["actions"] else 1.0


def batch_of(tokenizer: PreTrainedTokenizerFast, items: list[Dialogue]) -> tuple[Any, Any]:
    """Ids and weights, dialogues × longest, right-padded with weight 0."""
    encoded = [encode(tokenizer, item) for item in items]
    size = len(encoded)
    longest = max(len(ids) for ids, _ in encoded)
    ids = torch.zeros(size, longest, dtype=torch.long)
    weights = torch.zeros(size, longest)
    for row, (row_ids, row_weights) in enumerate(encoded):
        ids[row, : len(row_ids)] = torch.tensor(row_ids)
        weights[row, : len(row_ids)] = torch.tensor(row_weights)
    return ids, weights


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A fresh model for this vocabulary."""
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        rope_theta=10000.0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def run_stage(model: Any, tokenizer: PreTrainedTokenizerFast, stage: Stage, rng: random.Random) -> None:
    """Trains for one stage; prints the loss as it goes, and the abilities where a phase begins."""
    peak, steps = stage.learning_rate, stage.steps
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, pct_start=0.05)
    started = time.monotonic()
    for step in range(steps):
        if step > 0 and step in (int(phase[0] * steps) for phase in stage.phases):
            print(f"  {measure(model, tokenizer)}", flush=True)
        mixture, right = next(phase[1:] for phase in reversed(stage.phases) if step >= phase[0] * steps)
        ids, weights = batch_of(tokenizer, [dialogue(rng, mixture, right, stage.made_up) for _ in range(BATCH)])
        logits = model(input_ids=ids[:, :-1]).logits
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (losses * weights[:, 1:].flatten()).sum() / weights[:, 1:].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            print(f"step {step + 1}/{steps} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)


def train(out: Path, first: int) -> None:
    """Runs the stages from `first` on (0: from nothing; otherwise from what lies in `out`) and saves after each."""
    model: Any = None
    tokenizer = make_tokenizer(SEED) if first == 0 else PreTrainedTokenizerFast.from_pretrained(out)
    model = new_model(tokenizer) if first == 0 else LlamaForCausalLM.from_pretrained(out)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, vocabulary {len(tokenizer)}", flush=True)
    for number, stage in list(enumerate(STAGES))[first:]:
        run_stage(model, tokenizer, stage, random.Random(SEED + number))
        model.generation_config.bos_token_id = None
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    settings = {
        "seed": SEED,
        "batch": BATCH,
        "action_weight": ACTION_WEIGHT,
        "stages": [asdict(stage) for stage in STAGES],
        "abilities": measure(model, tokenizer),
    }
    (out / "training.json").write_text(json.dumps(settings, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--from-stage", type=int, default=0, help="go on with what lies in --out")
    options = parser.parse_args()
    train(options.out, options.from_stage)
