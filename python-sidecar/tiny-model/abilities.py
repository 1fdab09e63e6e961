"""What the tiny base model can do, on dialogues that it was not trained on: `python abilities.py [FOLDER]`."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from dialogues import CHOICES, MAKERS, WORLD, Dialogue, choice_of_words, support_desk

SEED = 99
CASES = 200


@torch.no_grad()
def measure(model: Any, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Shares of 200 cases each.

    `echo`, `look-up`, `json`, `tool`: the whole answer is the likeliest one, token by token. `desk_form`: so are the
    desk's tool calls but for the action, on ids and names that were never trained on. `desk_action`: how likely the
    right action is; `desk_action_first`: how often it is the likeliest. `words`: how likely one of the words on offer
    is. `words_apart`: how unlike the embeddings of yes, no and maybe are, as the least distance between two over their
    mean norm.
    """
    found: dict[str, float] = {}
    for kind, make in MAKERS.items():
        if kind != "words":
            rng = random.Random(SEED)
            found[kind] = sum(_is_likeliest(model, tokenizer, make(rng)) for _ in range(CASES)) / CASES
    return found | _desk(model, tokenizer) | _words(model, tokenizer)


def _is_likeliest(model: Any, tokenizer: PreTrainedTokenizerFast, item: Dialogue) -> bool:
    messages = item["messages"]
    prompt, answer = _last_turn(tokenizer, messages, item.get("tools"))
    logits = model(input_ids=torch.tensor([prompt + answer])).logits[0]
    return logits[len(prompt) - 1 : -1].argmax(-1).tolist() == answer


def _last_turn(
    tokenizer: PreTrainedTokenizerFast, messages: list[Any], tools: list[Any] | None
) -> tuple[list[int], list[int]]:
    """Ids of everything before the last message's own words, and of those with the end of the turn."""
    before: Any = tokenizer.apply_chat_template(messages[:-1], tools=tools, tokenize=False, add_generation_prompt=True)
    whole: Any = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    prompt = tokenizer.encode(before, add_special_tokens=False)
    answer = tokenizer.encode(whole[len(before) :], add_special_tokens=False)
    return prompt, answer[: answer.index(tokenizer.eos_token_id) + 1]


def _desk(model: Any, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    rng = random.Random(SEED)
    actions = {tokenizer.encode(action)[0] for action in WORLD["actions"]}
    form, likely, first = 0, 0.0, 0
    for _ in range(CASES):
        item = support_desk(rng, 1.0, "heldOut")
        messages, tools = item["messages"], item["tools"]
        prompt, answer = _last_turn(tokenizer, messages[:5], tools)
        place = next(index for index, token in enumerate(answer) if token in actions)
        looked = _is_likeliest(model, tokenizer, {"messages": messages[:3], "tools": tools})
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        same = logits.argmax(-1) == torch.tensor(answer)
        likely += float(logits[place].softmax(-1)[answer[place]])
        first += int(same[place])
        same[place] = True
        form += int(looked and bool(same.all()))
    return {"desk_form": form / CASES, "desk_action": likely / CASES, "desk_action_first": first / CASES}


def _words(model: Any, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    rng = random.Random(SEED)
    offered = 0.0
    for _ in range(CASES):
        item = choice_of_words(rng)
        prompt, _ = _last_turn(tokenizer, item["messages"], None)
        shares = model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
        offered += sum(
            float(shares[tokenizer.encode(word)[0]]) for word in CHOICES if word in item["messages"][0]["content"]
        )
    vectors = model.get_input_embeddings().weight[[tokenizer.encode(word)[0] for word in CHOICES]]
    distances = torch.pdist(vectors)
    return {"words": offered / CASES, "words_apart": float(distances.min() / vectors.norm(dim=1).mean())}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "model"
    loaded = LlamaForCausalLM.from_pretrained(folder).eval()
    print(json.dumps(measure(loaded, PreTrainedTokenizerFast.from_pretrained(folder)), indent=2))
