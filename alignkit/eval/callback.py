"""A task metric while training: some items of a graded suite, answered by the model as it is, logged with the trainer's
metrics.

    from alignkit.eval.callback import add_eval_suite
    add_eval_suite(trainer, "math500:50")         # any transformers or TRL trainer; 50 items, greedy

It measures before the first step, at every evaluation (with `eval_strategy="no"`: at every save) and at the end. The
numbers are `eval_math500_accuracy`, `eval_math500_truncated` and `eval_math500_tokens`. Greedy decoding draws no random
numbers, so that training goes on as it would have without.
"""

from __future__ import annotations

import logging
from typing import Any

from transformers import TrainerCallback

from alignkit.errors import InputError
from alignkit.generation import LoadOptions, SamplingParams
from alignkit.generation.transformers_backend import TransformersGenerator
from alignkit.rewards.answers import shared_pool

from .items import Item, load_items
from .options import EvalOptions
from .suites import Suite, load_suite


logger = logging.getLogger(__name__)


def add_eval_suite(trainer: Any, suites: str, batch_size: int = LoadOptions.batch_size) -> list[EvalSuiteCallback]:
    """Add a callback per suite of `suites` ("math500:50,gsm8k:100") to a trainer; return them.

    Raises `InputError` for a suite that does not exist, is not graded, or whose data cannot be had.
    """
    callbacks = [EvalSuiteCallback(trainer, own.strip(), batch_size) for own in suites.split(",") if own.strip()]
    for callback in callbacks:
        trainer.add_callback(callback)
    return callbacks


class EvalSuiteCallback(TrainerCallback):
    """Grades the model's greedy answers to the first items of a suite.

    Args:
        trainer: gives the model, the tokenizer, the accelerator and the log.
        spec: `NAME` or `NAME:LIMIT`.
        batch_size: completions generated at once by each process.
    """

    def __init__(self, trainer: Any, spec: str, batch_size: int = LoadOptions.batch_size) -> None:
        self.trainer = trainer
        self.suite, limit = parse_spec(spec)
        self.items, _ = load_items(self.suite, self.suite.protocol, EvalOptions().data, limit)
        self.batch_size = batch_size
        self.measured_at: int | None = None
        self.history: list[dict[str, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self.measure(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.measure(state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.eval_strategy == "no":
            self.measure(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.measure(state)

    def measure(self, state: Any) -> None:
        """Measure and log, once per step."""
        if self.measured_at == state.global_step:
            return
        self.measured_at = state.global_step
        figures = self.figures()
        self.history.append({"step": state.global_step, **figures})
        self.trainer.log(figures)

    def figures(self) -> dict[str, float]:
        """The metrics now. With several processes each answers its share, and the sums are exchanged."""
        from trl.models import unwrap_model_for_generation

        accelerator = self.trainer.accelerator
        own = self.items[accelerator.process_index :: accelerator.num_processes]
        with unwrap_model_for_generation(self.trainer.model_wrapped, accelerator) as model:
            counts = self.answer(model, own)
        right, truncated, tokens, total = self.sum_over_processes(counts)
        name = f"eval_{self.suite.name}"
        return {
            f"{name}_accuracy": right / total,
            f"{name}_truncated": truncated / total,
            f"{name}_tokens": tokens / total,
        }

    def answer(self, model: Any, items: list[Item]) -> list[float]:
        """Right answers, truncated ones, tokens and items."""
        tokenizer = self.trainer.processing_class
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        side, tokenizer.padding_side = tokenizer.padding_side, "left"
        try:
            generator = TransformersGenerator(model, tokenizer, self.batch_size)
            sampling = SamplingParams(max_new_tokens=self.suite.max_new_tokens)
            completions = list(generator.generate([item.prompt for item in items], sampling)) if items else []
        finally:
            tokenizer.padding_side = side
        pool = shared_pool(tolerance=self.suite.tolerance)
        grades = pool.grade([(items[own.index].gold, own.text) for own in completions])
        return [
            float(sum(grade.correct for grade in grades)),
            float(sum(own.finish_reason == "length" for own in completions)),
            float(sum(own.n_tokens for own in completions)),
            float(len(items)),
        ]

    def sum_over_processes(self, counts: list[float]) -> list[float]:
        import torch

        accelerator = self.trainer.accelerator
        if accelerator.num_processes == 1:
            return counts
        summed = accelerator.reduce(torch.tensor(counts, device=accelerator.device), reduction="sum")
        return summed.tolist()


def parse_spec(spec: str) -> tuple[Suite, int | None]:
    """`NAME[:LIMIT]` as suite and number of items."""
    name, colon, limit = spec.partition(":")
    suite = load_suite(name)
    if suite.kind != "math":
        raise InputError(f"eval_suite is {spec!r}: only graded suites can be measured while training, not judged ones")
    if colon and (not limit.isdigit() or int(limit) < 1):
        raise InputError(f"eval_suite is {spec!r}: after the colon stands the number of items, as in math500:50")
    return suite, int(limit) if colon else None
