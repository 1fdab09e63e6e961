"""Writes a Llama-shaped model with random weights and a tokenizer whose words are `t00000`, `t00001`, … by their ids.

`python model.py FOLDER '{"width": 256, "layers": 4, "vocabulary": 4096}'`, or `'{"weights": FOLDER}'` for the weights
of a model that exists.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from work import word

HEAD = 64


def make(folder: str, *, width: int = 0, layers: int = 0, vocabulary: int = 0, weights: str | None = None) -> None:
    """Model and tokenizer, in one folder."""
    if weights is not None:
        model: Any = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
        # TRL forbids the end before an answer has its length, so it must be an id that is hardly ever drawn.
        model.config.eos_token_id = model.generation_config.eos_token_id = model.config.vocab_size - 1
    else:
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=width,
                intermediate_size=width * 11 // 4,
                num_hidden_layers=layers,
                num_attention_heads=width // HEAD,
                num_key_value_heads=width // HEAD,
                max_position_embeddings=2048,
                tie_word_embeddings=True,
                bos_token_id=1,
                eos_token_id=2,
                pad_token_id=0,
            )
        )
    model.save_pretrained(folder)
    count, end = model.config.vocab_size, model.config.eos_token_id
    words = Tokenizer(models.WordLevel({word(number): number for number in range(count)}, unk_token=word(3)))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue] -- a property
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=word(0), bos_token=word(1), eos_token=word(end))
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    make(sys.argv[1], **json.loads(sys.argv[2]))
