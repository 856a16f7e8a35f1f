"""The critic's trainer, and stage `critic`: V fitted to the Monte-Carlo values of the states."""

from typing import Any

import torch
from transformers import Trainer

from ...objectives.values import direct_advantage_critic_loss
from ..iterative.files import read_rows
from ..resume import ExactResumeMixin
from ..run_facts import RunFactsMixin, changed_fields
from ..two_stage.stages import train_stage
from .config import StepCriticConfig
from .critic_model import critic_source, load_critic, padded
from .stage import Stage
from .training import stage_training


WATCHED = ("loss", "critic/value_mean", "critic/target_mean", "critic/explained_variance")


class StepCriticTrainer(RunFactsMixin, ExactResumeMixin, Trainer):
    """Trains a sequence classifier with one output on states: cross-entropy of sigmoid(logit) with a soft target.

    The data set has `input_ids` (tokens of a state) and `target` (share of right completions, in [0, 1]). `args` is a
    [`StepCriticConfig`].
    """

    method_key = "direct_advantage"

    args: StepCriticConfig

    def __init__(self, model: Any, args: StepCriticConfig, train_dataset: Any, **kwargs: Any) -> None:
        pad_token_id = model.config.get_text_config().pad_token_id

        def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            batch = padded([example["input_ids"] for example in examples], pad_token_id)
            return {**batch, "target": torch.tensor([example["target"] for example in examples])}

        self._sums: list[torch.Tensor] = []
        args.remove_unused_columns = False
        super().__init__(model=model, args=args, train_dataset=train_dataset, data_collator=collate, **kwargs)
        self.model_accepts_loss_kwargs = False  # the loss is a mean over states

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        target = inputs.pop("target")
        outputs = model(**inputs, use_cache=False)
        logits = outputs.logits[:, 0]
        values = logits.detach().float().sigmoid()
        error = (target - values).square()
        parts = (torch.ones_like(values), values, target, target.square(), error)
        self._sums.append(torch.stack([part.float().sum() for part in parts]))
        loss = direct_advantage_critic_loss(logits, target).mean()
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._sums:
            sums = self.accelerator.reduce(torch.stack(self._sums).sum(0), reduction="sum")
            count, value, target, squares, error = sums.tolist()
            logs["critic/value_mean"], logs["critic/target_mean"] = value / count, target / count
            variance = squares / count - (target / count) ** 2
            # Without any spread of the targets there is nothing to explain.
            logs["critic/explained_variance"] = 1 - error / count / variance if variance > 1e-12 else 0.0
            self._sums.clear()
        super().log(logs, start_time)


def critic_training(run: Any, folder: Any, seed: int) -> Any:
    """The configuration of the critic's training; `InputError` for a field or value that it does not take."""
    return stage_training(run, "critic", StepCriticConfig, folder, seed, {})


def train_critic(stage: Stage) -> None:
    """Write `critic/`, the critic after one more training, from the last iteration's where there is one."""
    from datasets import Dataset

    run, state = stage.context.run, stage.state
    rows = [
        {"input_ids": row["prompt_ids"] + row["steps_ids"], "target": row["value"]}
        for row in read_rows(stage.folder / "values.jsonl")
        if row["value"] is not None
    ]
    source = stage.context.model_path(state.critic) if state.critic else critic_source(run)
    tokenizer = stage.tokenizer()
    config = critic_training(run, stage.folder, state.base_seed + state.iteration)
    torch.manual_seed(config.seed)
    model = load_critic(run, source, len(tokenizer), tokenizer.pad_token_id, trainable=True)
    trainer = StepCriticTrainer(model, config, Dataset.from_list(rows))
    trainer.model_source = source
    trainer.model_settings = changed_fields(run.model)
    trainer.dataset_name = run.script.dataset_name
    train_stage(stage.folder, "critic", trainer, WATCHED)
