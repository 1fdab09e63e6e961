"""One subject of `npm run bench:decoding`, in a process of its own: loads a model, then answers a line with another.

`{"streams": 8, "prompt": 93, "new": 64, "threads": 1, "seed": 3}` gives `{"seconds": …, "cpu_seconds": …,
"peak_bytes": …}`: the time in which that many sequences are made, all of that length, from distinct random prompts,
sampled at temperature 1, with the log-probability of every token.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

#: Prompts and the number of new tokens → for each prompt the ids and their log-probabilities.
Generate = Callable[[list[list[int]], int], list[tuple[list[int], list[float]]]]
#: Begins a line that is an answer.
MARK = "@result "


def apprentice(model: str) -> Generate:
    """The sidecar's engine, below HTTP."""
    from apprentice_sidecar.base_model import load_base
    from apprentice_sidecar.serving.engine import Engine, Sequence
    from apprentice_sidecar.serving.sampling import SamplingSettings

    engine = Engine(load_base(model))

    def generate(prompts: list[list[int]], new: int) -> list[tuple[list[int], list[float]]]:
        answers: list[tuple[list[int], list[float]]] = [([], []) for _ in prompts]
        left, done = len(prompts), threading.Event()

        def sequence(prompt: list[int], answer: tuple[list[int], list[float]]) -> Sequence:
            def on_token(token: int, logprob: float) -> bool:
                answer[0].append(token)
                answer[1].append(logprob)
                return True

            def on_end(error: BaseException | None) -> None:
                nonlocal left
                left -= 1
                if error is not None or left == 0:
                    done.set()

            return Sequence(None, prompt, new, SamplingSettings(), on_token, on_end)

        for prompt, answer in zip(prompts, answers, strict=True):
            engine.submit(sequence(prompt, answer))
        done.wait()
        return answers

    return generate


def transformers_generate(model: str) -> Generate:
    """`generate` of transformers on one padded batch; the prompts are of one length, so that nothing is padded."""
    loaded = _load(model)

    def generate(prompts: list[list[int]], new: int) -> list[tuple[list[int], list[float]]]:
        ids = torch.tensor(prompts)
        output = loaded.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=True,
            temperature=1.0, top_k=0, top_p=1.0, pad_token_id=0, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        made = output.sequences[:, ids.shape[1] :]
        columns = [
            logits.gather(-1, made[:, place, None])[:, 0] - logits.logsumexp(-1)
            for place, logits in enumerate(output.logits)
        ]
        return list(zip(made.tolist(), torch.stack(columns, dim=1).tolist(), strict=True))

    return generate


def transformers_generate_batch(model: str) -> Generate:
    """`generate_batch` of transformers (continuous batching, paged cache), its sizes set for the work at hand."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    loaded = _load(model)

    def generate(prompts: list[list[int]], new: int) -> list[tuple[list[int], list[float]]]:
        settings = GenerationConfig(
            max_new_tokens=new, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=-1, pad_token_id=0
        )
        length, streams = len(prompts[0]) + new, len(prompts)
        blocks = -(-length // BLOCK) * streams + 2
        batching = ContinuousBatchingConfig(
            block_size=BLOCK,
            num_blocks=blocks,
            max_batch_tokens=max(256, len(prompts[0]) * streams),
            return_logprobs=True,
        )
        outputs = loaded.generate_batch(
            prompts, generation_config=settings, continuous_batching_config=batching, progress_bar=False, warmup=False
        )
        return [(output.generated_tokens, output.logprobs) for output in outputs.values()]

    return generate


#: Tokens in a block of `generate_batch`'s cache.
BLOCK = 32
SUBJECTS = {
    "apprentice": apprentice,
    "generate": transformers_generate,
    "generate_batch": transformers_generate_batch,
}


def _load(model: str) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    return loaded.eval()


def say(**values: Any) -> None:
    """One line for the driver."""
    print(f"\n{MARK}{json.dumps(values)}", flush=True)


def main() -> None:
    """Loads, says so, answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=list(SUBJECTS), required=True)
    parser.add_argument("--model", required=True)
    options = parser.parse_args()
    generate = SUBJECTS[options.subject](options.model)
    with open(f"{options.model}/config.json") as file:
        vocabulary = int(json.load(file)["vocab_size"])
    say(ready=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        torch.set_num_threads(wanted["threads"])
        source = torch.Generator().manual_seed(wanted["seed"])
        prompts = torch.randint(3, vocabulary, (wanted["streams"], wanted["prompt"]), generator=source).tolist()
        started, cpu_started = time.perf_counter(), time.process_time()
        answers = generate(prompts, wanted["new"])
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        lengths = {len(part) for answer in answers for part in answer}
        if lengths != {wanted["new"]} or len(answers) != wanted["streams"]:
            raise RuntimeError(f"Answers of {sorted(lengths)} tokens came where {wanted['new']} were asked for.")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        say(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=peak)


if __name__ == "__main__":
    main()
