"""PreferenceTrainer: `trl.DPOTrainer` whose loss on a batch of pairs is one method, `preference_loss`.

A method of the family says what differs: its loss, the columns it needs, the frozen references beyond the usual one
and the numbers it logs.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from trl import DPOTrainer as TRLDPOTrainer

from ...objectives.preference import dpo_loss
from ..reference_cache import with_reference_logps
from ..resume import ExactResumeMixin
from ..run_facts import RunFactsMixin
from ..shared_prefix import share_trainer_prompts
from .checks import check_pairs
from .columns import ColumnCollator
from .config import PreferenceConfig
from .frozen import add_frozen_reference
from .metrics import Sums, pair_means, reduce_means, token_mean


__all__ = ["PreferenceBatch", "PreferenceConfig", "PreferenceTrainer"]


@dataclass
class PreferenceBatch:
    """What a loss sees of a batch of B pairs.

    Attributes:
        policy_chosen_logps, policy_rejected_logps: [B], summed completion log-probabilities in nats, with gradient.
        ref_chosen_logps, ref_rejected_logps: [B], the same under the frozen reference.
        columns: the extra columns of the method, each [B] or [B, n], and `{name}_chosen_logps`,
            `{name}_rejected_logps` [B] of every frozen reference.
    """

    policy_chosen_logps: torch.Tensor
    policy_rejected_logps: torch.Tensor
    ref_chosen_logps: torch.Tensor
    ref_rejected_logps: torch.Tensor
    columns: dict[str, torch.Tensor]

    @property
    def logps(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The four log-probabilities in the order of every objective's first arguments."""
        return self.policy_chosen_logps, self.policy_rejected_logps, self.ref_chosen_logps, self.ref_rejected_logps


class PreferenceTrainer(RunFactsMixin, ExactResumeMixin, TRLDPOTrainer):
    """Base of the preference trainers; by itself it is DPO with the sigmoid loss, as `trl.DPOTrainer`.

    With `shared_prefix: off` it equals `trl.DPOTrainer` step for step; otherwise the prompt of a pair is computed once,
    inside the models' forward, which changes no number beyond rounding.

    Takes the arguments of `trl.DPOTrainer`; `args` is a [`PreferenceConfig`].
    """

    _tag_names = ["alignkit", "trl", "dpo"]

    args: PreferenceConfig
    train_dataset: Any
    eval_dataset: Any
    data_collator: Any
    _signature_columns: list[str] | None
    _columns: tuple[str, ...]

    def __init__(self, model=None, ref_model=None, args=None, train_dataset=None, eval_dataset=None, **kwargs):
        self._columns = self.extra_columns(args) if args is not None else ()
        check_pairs(train_dataset, eval_dataset, self._columns, args)
        super().__init__(
            model=model,
            ref_model=ref_model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            **kwargs,
        )
        share_trainer_prompts(self)
        references = self.frozen_references()
        for name, source in references.items():
            self.train_dataset = add_frozen_reference(self, self.train_dataset, name, source)
            if isinstance(self.eval_dataset, dict):
                self.eval_dataset = {
                    key: add_frozen_reference(self, data, name, source) for key, data in self.eval_dataset.items()
                }
            elif self.eval_dataset is not None:
                self.eval_dataset = add_frozen_reference(self, self.eval_dataset, name, source)
        self._columns += tuple(f"{name}_{side}_logps" for name in references for side in ("chosen", "rejected"))
        if self._columns:
            self.data_collator = ColumnCollator(self.data_collator, self._columns)

    # What a method says of itself

    @classmethod
    def extra_columns(cls, args) -> tuple[str, ...]:
        """Numeric columns of the data set that the loss needs under this configuration."""
        return ()

    def frozen_references(self) -> dict[str, str]:
        """Frozen models beyond the reference, {name: adapter folder or model}; their log-probabilities become columns."""
        return {}

    def preference_loss(self, batch: PreferenceBatch) -> torch.Tensor:
        """Loss of each pair, [B]; the batch is averaged plainly."""
        return dpo_loss(*batch.logps, beta=self.beta)

    def implicit_rewards(self, batch: PreferenceBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Implicit rewards of the chosen and the rejected responses, two [B], as logged under `rewards/`."""
        return (
            self.beta * (batch.policy_chosen_logps - batch.ref_chosen_logps),
            self.beta * (batch.policy_rejected_logps - batch.ref_rejected_logps),
        )

    def preference_metrics(self, batch: PreferenceBatch) -> dict[str, torch.Tensor]:
        """Further numbers to log, {name: [B] per-pair values}; their means over the batch are logged."""
        return {}

    # TRL's seams

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            super()._set_signature_columns_if_needed()
            self._signature_columns = [*(self._signature_columns or ()), *self._columns]

    def _precompute_ref_logps(self, dataset, name, batch_size):
        """As TRL's, but log-probabilities that the data set brings along are kept, and the others in the cache."""
        if {"ref_chosen_logps", "ref_rejected_logps"} <= set(dataset.column_names or ()):
            return dataset
        if not hasattr(dataset, "add_column"):  # streamed: TRL says why not
            return super()._precompute_ref_logps(dataset, name, batch_size)
        share_trainer_prompts(self)  # TRL calls this before the end of its `__init__`
        return with_reference_logps(self, dataset, name, batch_size)

    def compute_ref_log_probs(self, model, inputs):
        return super().compute_ref_log_probs(model, self.without_columns(inputs))

    def without_columns(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The batch as TRL knows it: every key but the extra columns."""
        return {name: value for name, value in inputs.items() if name not in self._columns}

    def policy_pass(self, model, inputs: dict[str, Any]):
        """Forward pass of `model` on the 2B sequences of a batch (chosen first, then rejected).

        Returns the fused output of TRL's LM head and the summed completion log-probabilities [2B].
        """
        router = {"output_router_logits": True} if self.aux_loss_enabled else {}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        outputs = model(**_model_inputs(inputs), **router, labels=labels, use_cache=False, fused_lm_head=True)
        # Prompt-learning PEFT prepends virtual tokens: the last T-1 positions are those of the real tokens.
        return outputs, outputs.log_probs[:, 1 - labels.shape[1] :].sum(dim=1)

    def _compute_loss(self, model, inputs, return_outputs):
        columns = {name: inputs[name] for name in self._columns}
        inputs = self.without_columns(inputs)
        outputs, logps = self.policy_pass(model, inputs)
        chosen_logps, rejected_logps = logps.chunk(2)
        if self.precompute_ref_logps:
            ref_chosen_logps, ref_rejected_logps = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            ref_chosen_logps, ref_rejected_logps = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
        batch = PreferenceBatch(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, columns)
        loss = self.preference_loss(batch).mean()
        mask = inputs["completion_mask"][:, 1:]
        if self.args.sft_weight:
            chosen_mask = mask.chunk(2)[0].bool()
            chosen_token_logps = outputs.log_probs[:, -mask.shape[1] :].chunk(2)[0]
            sft_loss = -chosen_token_logps[chosen_mask].mean()
            loss = loss + self.args.sft_weight * sft_loss
        sums = self._metric_sums(batch, outputs, mask)
        if self.args.sft_weight:
            sums["sft_loss"] = (sft_loss.detach(), sft_loss.new_ones(()))
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
            sums["aux_loss"] = (outputs.aux_loss.detach(), outputs.aux_loss.new_ones(()))
        self._record(sums, inputs)
        if not return_outputs:
            return loss
        warnings.warn("the logits for `compute_metrics` cost a second forward pass.", FutureWarning, stacklevel=2)
        with torch.no_grad():
            return loss, model(**_model_inputs(inputs))

    def _metric_sums(self, batch: PreferenceBatch, outputs, mask: torch.Tensor) -> Sums:
        """TRL's metrics of a batch and the method's own, each as (sum, count)."""
        length = mask.shape[1]
        chosen_mask, rejected_mask = mask.chunk(2)
        chosen_logits, rejected_logits = outputs.mean_logits[:, -length:].chunk(2)
        chosen_rewards, rejected_rewards = self.implicit_rewards(batch)
        sums = pair_means(
            {
                "rewards/chosen": chosen_rewards,
                "rewards/rejected": rejected_rewards,
                "rewards/accuracies": (chosen_rewards > rejected_rewards).float(),
                "rewards/margins": chosen_rewards - rejected_rewards,
                "logps/chosen": batch.policy_chosen_logps,
                "logps/rejected": batch.policy_rejected_logps,
                **self.preference_metrics(batch),
            }
        )
        sums["entropy"] = token_mean(outputs.entropy[:, -length:], mask)
        sums["logits/chosen"] = token_mean(chosen_logits, chosen_mask)
        sums["logits/rejected"] = token_mean(rejected_logits, rejected_mask)
        sums["mean_token_accuracy"] = token_mean(outputs.is_top1[:, -length:].chunk(2)[0], chosen_mask)
        return sums

    def _record(self, sums: Sums, inputs: dict[str, Any]) -> None:
        """Average over the processes and keep for the next log line; count the tokens of training."""
        tokens = inputs["attention_mask"].sum()
        means = reduce_means(self.accelerator, {**sums, "num_tokens": (tokens, tokens.new_ones(()))})
        mode = "train" if self.model.training else "eval"
        mean_tokens = means.pop("num_tokens")
        if mode == "train":
            self._total_train_tokens += round(mean_tokens * self.accelerator.num_processes) // self._tp_size
        for name, value in means.items():
            self._metrics[mode][name].append(value)
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]


def _model_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """What of a batch the model's forward takes."""
    return {
        name: value
        for name, value in inputs.items()
        if name not in ("completion_mask", "ref_chosen_logps", "ref_rejected_logps")
    }
