"""Stage `reference`: the pairs with the log-probabilities of the frozen models as columns.

Afterwards only the policy is in memory. No second full model is ever loaded: with LoRA the frozen models are adapters
on the policy's base (or that base itself), and full models are loaded one after the other.
"""

from typing import Any

import torch

from ..context import Context
from ..files import read_rows, remove, temporary_path, write_rows
from ..training import build_trainer, free_memory, training_config


SIDES = ("chosen", "rejected")


def reference(context: Context) -> None:
    """Write `dataset.jsonl`: `pairs.jsonl` with `{name}_chosen_logps` and `{name}_rejected_logps` of every reference."""
    from datasets import Dataset

    folder, policy = context.iteration_dir, context.state.policy
    rows = read_rows(folder / "pairs.jsonl")
    scratch = temporary_path(folder / "reference")
    dataset = Dataset.from_list(rows)
    trainer = plain_trainer(context, policy, dataset, str(scratch))
    # Tokenising drops pairs whose prompt alone fills `max_length`.
    kept = trainer.train_dataset
    columns: dict[str, list[float]] = {}
    computed = {policy: own_logps(trainer)}
    for name, source in context.rule.reference_paths(context.state).items():
        if source not in computed:
            trainer, computed[source] = other_logps(context, trainer, source, dataset, str(scratch))
        for side, logps in zip(SIDES, computed[source], strict=True):
            columns[f"{name}_{side}_logps"] = logps
    texts = {name: kept[name] for name in rows[0]}
    del trainer, kept
    free_memory()
    remove(scratch)
    merged = {**texts, **columns}
    write_rows(
        folder / "dataset.jsonl", ({name: merged[name][n] for name in merged} for n in range(len(merged["prompt"])))
    )


def plain_trainer(context: Context, model: str, dataset: Any, output_dir: str) -> Any:
    """A trainer at `model` that has computed the reference log-probabilities of the pairs, which are the model's own."""
    from ...preference.base import PreferenceConfig, PreferenceTrainer

    config = training_config(context, PreferenceConfig, output_dir)
    config.loss_type = ["sigmoid"]
    config.report_to = []
    return build_trainer(context, PreferenceTrainer, config, model, dataset)


def own_logps(trainer: Any) -> tuple[list[float], list[float]]:
    """Log-probabilities under the model at which the trainer was built."""
    return trainer.train_dataset["ref_chosen_logps"][:], trainer.train_dataset["ref_rejected_logps"][:]


def other_logps(
    context: Context, trainer: Any, source: str, dataset: Any, output_dir: str
) -> tuple[Any, tuple[list[float], list[float]]]:
    """Log-probabilities under a further frozen model, and the trainer that is left in memory."""
    from accelerate.utils import is_peft_model

    from ...preference.frozen import frozen_logps

    if is_peft_model(trainer.model):  # adapters on one base, or that base itself
        logps = frozen_logps(trainer, trainer.train_dataset, "frozen", context.model_path(source))
        return trainer, tuple(tensor.to(torch.float32).tolist() for tensor in logps)
    del trainer
    free_memory()
    trainer = plain_trainer(context, source, dataset, output_dir)
    return trainer, own_logps(trainer)
