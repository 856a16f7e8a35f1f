"""A task metric while training: some items of a graded suite, answered by the model as it is, logged with the trainer's
metrics.

    alignkit train grpo --config grpo.yaml --eval_suite math500:50

    from alignkit.eval.callback import add_eval_suite
    add_eval_suite(trainer, "math500:50")         # any transformers or TRL trainer; 50 items, greedy

It measures before the first step, at every evaluation and at the end. With `eval_strategy="no"`, for which no evaluation
data set is needed, it measures every `eval_steps` steps, or, where those are not given, at every save. The numbers are
`eval_math500/accuracy`, `eval_math500/truncated` and `eval_math500/tokens`. Greedy decoding draws no random numbers, so
that training goes on as it would have without.
"""

from __future__ import annotations

import logging
from typing import Any

from transformers import Trainer, TrainerCallback

from alignkit.errors import InputError
from alignkit.generation import SamplingParams
from alignkit.generation.transformers_backend import TransformersGenerator, avoid_packed_kernel
from alignkit.rewards.answers import shared_pool

from .generating import items_without_room
from .items import Item, load_items
from .options import EvalOptions
from .suites import Suite, load_suite


logger = logging.getLogger(__name__)


def add_eval_suite(
    trainer: Any, suites: str, batch_size: int | None = None, max_new_tokens: int | None = None
) -> list[EvalSuiteCallback]:
    """Add a callback per suite of `suites` ("math500:50,gsm8k:100") to a trainer; return them.

    `batch_size`: questions answered at once by each process; default: the trainer's `per_device_eval_batch_size`.
    `max_new_tokens`: most tokens of an answer; default: the suite's. Raises `InputError` for a suite that does not exist, is not graded, or whose data cannot be had.
    """
    callbacks = [EvalSuiteCallback(trainer, *own, batch_size, max_new_tokens) for own in parse_suites(suites)]
    for callback in callbacks:
        trainer.add_callback(callback)
    return callbacks


def parse_suites(suites: str) -> list[tuple[Suite, list[Item]]]:
    """The suites of "math500:50,gsm8k:100" with their items. Raises `InputError` as `add_eval_suite` does."""
    parsed = []
    for spec in filter(None, (part.strip() for part in suites.split(","))):
        suite, limit = parse_spec(spec)
        items, _ = load_items(suite, suite.protocol, EvalOptions().data, limit)
        parsed.append((suite, items))
    if not parsed:
        raise InputError(f"eval_suite is {suites!r}: it names no suite")
    return parsed


class EvalSuiteCallback(TrainerCallback):
    """Grades the model's greedy answers to the first items of a suite.

    Args:
        trainer: gives the model, the tokenizer, the accelerator and the log.
        suite, items: what is asked.
        batch_size: completions generated at once by each process; None: the trainer's for evaluation.
        max_new_tokens: most tokens of a completion; None: the suite's.
    """

    def __init__(
        self,
        trainer: Any,
        suite: Suite,
        items: list[Item],
        batch_size: int | None = None,
        max_new_tokens: int | None = None,
    ) -> None:
        self.trainer = trainer
        self.suite = suite
        self.items = items
        self.batch_size = batch_size or trainer.args.per_device_eval_batch_size
        self.sampling = SamplingParams(
            max_new_tokens=suite.max_new_tokens if max_new_tokens is None else max_new_tokens
        )
        self.measured_at: int | None = None
        self.history: list[dict[str, float]] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        avoid_packed_kernel(self.trainer.model, trained=True)
        if state.global_step == 0:
            self.measure(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        figures = self.measure(state)
        # The dictionary that `evaluate` returns, so that `metric_for_best_model` may name a figure of ours.
        kwargs.get("metrics", {}).update(figures)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.eval_strategy == "no" and args.eval_steps and state.global_step % state.eval_steps == 0:
            self.measure(state)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.eval_strategy == "no" and not args.eval_steps:
            self.measure(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.measure(state)

    def measure(self, state: Any) -> dict[str, float]:
        """Measure and log, once per step; the figures."""
        if self.measured_at != state.global_step:
            self.measured_at = state.global_step
            figures = self.figures()
            self.history.append({"step": state.global_step, **figures})
            control = self.trainer.control
            due = control.should_log
            # Not the trainer's own `log`: TRL's would write, and start anew, the means of the steps since the last entry.
            Trainer.log(self.trainer, dict(figures))
            control.should_log = due  # an entry of the trainer's that is due at this step is still to come
        return {name: own for name, own in self.history[-1].items() if name != "step"}

    def figures(self) -> dict[str, float]:
        """The metrics now. With several processes each answers its share, and the sums are exchanged."""
        from trl.models import unwrap_model_for_generation

        accelerator = self.trainer.accelerator
        # Under FSDP every forward pass is a collective, so that all processes must make the same ones.
        shared = accelerator.num_processes > 1 and str(accelerator.distributed_type) != "DistributedType.FSDP"
        own = self.items[accelerator.process_index :: accelerator.num_processes] if shared else self.items
        with unwrap_model_for_generation(self.trainer.model_wrapped, accelerator) as model:
            counts = self.answer(model, own)
        right, truncated, tokens, total = self.sum_over_processes(counts) if shared else counts
        name = f"eval_{self.suite.name}"
        return {
            f"{name}/accuracy": right / total,
            f"{name}/truncated": truncated / total,
            f"{name}/tokens": tokens / total,
        }

    def answer(self, model: Any, items: list[Item]) -> list[float]:
        """Right answers, truncated ones (a prompt without room for an answer among them), tokens and items."""
        tokenizer = self.trainer.processing_class
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        side, tokenizer.padding_side = tokenizer.padding_side, "left"
        try:
            generator = TransformersGenerator(model, tokenizer, self.batch_size)
            too_long = items_without_room(generator, items)
            asked = [item for item in items if item.item_id not in too_long]
            completions = list(generator.generate([item.prompt for item in asked], self.sampling)) if asked else []
        finally:
            tokenizer.padding_side = side
        pool = shared_pool(tolerance=self.suite.tolerance)
        grades = pool.grade([(asked[own.index].gold, own.text) for own in completions])
        return [
            float(sum(grade.correct for grade in grades)),
            float(sum(own.finish_reason == "length" for own in completions) + len(too_long)),
            float(sum(own.n_tokens for own in completions)),
            float(len(items)),
        ]

    def sum_over_processes(self, counts: list[float]) -> list[float]:
        import torch

        accelerator = self.trainer.accelerator
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
