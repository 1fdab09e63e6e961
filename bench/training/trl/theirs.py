"""TRL's GRPOTrainer on the same work, one gradient step at each turn."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from work import (
    ALPHA,
    BETAS,
    GROUP,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    RANK,
    answer,
    peak_megabytes,
    prompts,
    reward,
    wait_for_turn,
    word,
    work,
)


class Turns(TrainerCallback):
    """Holds the trainer until the driver asks for the next step, and reports the one that has ended."""

    def __init__(self, trainer: Timed) -> None:
        self._trainer = trainer
        self._started, self._cpu_started = 0.0, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ready for the first step."""
        answer(ready=True)
        self._next(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step is done, optimizer included."""
        seconds = time.perf_counter() - self._started
        parts = self._trainer.take()
        answer(
            seconds=seconds,
            cpu_seconds=time.process_time() - self._cpu_started,
            generate=parts["generate"],
            train=seconds - parts["generate"],
            reward=parts["reward"],
            peak_megabytes=peak_megabytes(),
        )
        self._next(control)

    def _next(self, control: Any) -> None:
        turn = wait_for_turn()
        if turn is None:
            raise SystemExit(0)
        torch.set_num_threads(turn["threads"])
        self._started, self._cpu_started = time.perf_counter(), time.process_time()


class Timed(GRPOTrainer):
    """Counts what generating takes, apart from the rest of a step. `expected`: all prompts that may come."""

    def __init__(self, *given: Any, expected: set[tuple[int, ...]], **named: Any) -> None:
        super().__init__(*given, **named)
        self._expected = expected
        self._generate_seconds = 0.0
        self.rewards: list[float] = []

    def _generate(self, *given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = super()._generate(*given, **named)
        self._generate_seconds += time.perf_counter() - started
        assert all(tuple(ids) in self._expected for ids in result[0]), "The prompts are not those of the other side."
        return result

    def take(self) -> dict[str, float]:
        """The counts since they were last taken."""
        parts = {"generate": self._generate_seconds, "reward": sum(self.rewards) / len(self.rewards)}
        self._generate_seconds, self.rewards = 0.0, []
        return parts


def main() -> None:
    """Trains until the driver ends."""
    given = work()
    asked = [ids for step in range(given.steps) for ids in prompts(given, step)]
    rows = [" ".join(word(one) for one in ids) for ids in asked]
    seen: list[Timed] = []

    def score(completion_ids: list[list[int]], **_: Any) -> list[float]:
        found = [reward(given, ids) for ids in completion_ids]
        assert all(len(ids) == given.answer for ids in completion_ids)
        seen[0].rewards.extend(found)
        return found

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            seed=given.seed,
            max_steps=given.steps,
            per_device_train_batch_size=given.batch,
            gradient_accumulation_steps=1,
            num_generations=GROUP,
            max_completion_length=given.answer,
            generation_kwargs={"min_new_tokens": given.answer, "top_k": 0, "top_p": 1.0},
            temperature=1.0,
            beta=0.0,
            gradient_checkpointing=False,
            shuffle_dataset=False,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            weight_decay=0.0,
            max_grad_norm=MAX_GRAD_NORM,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Timed(
            expected={tuple(ids) for ids in asked},
            model=AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32),
            processing_class=AutoTokenizer.from_pretrained(given.model),
            reward_funcs=score,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": rows}),
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        )
        seen.append(trainer)
        trainer.add_callback(Turns(trainer))
        trainer.train()


if __name__ == "__main__":
    main()
