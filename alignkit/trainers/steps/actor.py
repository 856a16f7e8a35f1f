"""The policy's trainer, and stage `actor`: each step's log-ratio is regressed on its advantage over beta."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler

from ...catalog import get
from ...config import Run
from ...data import check_numeric_column
from ...errors import InputError
from ...objectives.policy import direct_advantage_loss
from ..assemble import assemble
from ..epoch_sampler import SetEpoch
from ..iterative.files import read_rows
from ..iterative.stages.train import drop_reference_adapter
from ..preference.base import PreferenceTrainer
from ..preference.metrics import pair_means, token_mean
from ..reference_cache import cached_logps, module_fingerprint, path_settings
from ..two_stage.stages import train_stage
from .config import StepActorConfig
from .critic_model import padded
from .stage import Stage
from .training import stage_training


WATCHED = (
    "loss",
    "grad_norm",
    "direct_advantage/target_size",
    "direct_advantage/log_ratio_size",
    "direct_advantage/sign_agreement",
)


class StateSampler(Sampler[int]):
    """Shuffles the states and gives all rows of a state one after the other, in an order drawn from seed and epoch."""

    epoch = 0

    def __init__(self, state_ids: list[int], seed: int) -> None:
        groups: dict[int, list[int]] = {}
        for row, state in enumerate(state_ids):
            groups.setdefault(state, []).append(row)
        self.groups = list(groups.values())
        self.seed = seed
        self.size = len(state_ids)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self.groups), generator=torch.Generator().manual_seed(self.seed + self.epoch))
        for place in order.tolist():
            yield from self.groups[place]


class StepCollator:
    """Rows of steps as a batch, padded on the right; what stands in the padding is never read."""

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = padded([example["prompt_ids"] + example["completion_ids"] for example in examples], pad_token_id=0)
        places = torch.arange(batch["input_ids"].shape[1])[None]
        prompts = torch.tensor([len(example["prompt_ids"]) for example in examples])[:, None]
        batch["completion_mask"] = batch["attention_mask"] * (places >= prompts)
        for name in ("advantage", "ref_logps"):
            if name in examples[0]:
                batch[name] = torch.tensor([example[name] for example in examples], dtype=torch.float32)
        return batch


class StepActorTrainer(PreferenceTrainer):
    """Trains the policy on single steps: \\( \\frac12 (\\log\\pi(a|s)/\\pi_{ref}(a|s) - A/\\beta)^2 \\), mean over steps.

    The data set has `prompt_ids` (tokens of the state), `completion_ids` (tokens of the step), `advantage`, `state_id`,
    and `ref_logps` (nats, summed over the step) where they are known; else they are those of the policy that training
    starts from. `args` is a [`StepActorConfig`]; the other arguments are those of `trl.DPOTrainer`, without a
    `ref_model`. Raises `InputError` naming the row and column of what is wrong.
    """

    _tag_names = ["alignkit", "trl", "direct_advantage"]
    _name = "Direct Advantage Policy Optimization"
    _paper = get("direct_advantage").paper
    method_key = "direct_advantage"

    args: StepActorConfig
    epoch_sampler: StateSampler | None = None

    def __init__(self, model=None, args=None, train_dataset=None, **kwargs):
        check_steps(train_dataset)
        super().__init__(model, None, args, train_dataset, data_collator=StepCollator(), **kwargs)
        # The reference is in the data: a checkpoint should not hold TRL's copy of the start adapter.
        drop_reference_adapter(self)
        self.add_callback(SetEpoch(self))

    def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
        return dataset  # tokens already

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            self._signature_columns = ["prompt_ids", "completion_ids", "advantage", "ref_logps"]

    def _get_train_sampler(self, dataset=None):
        # Given is the data set without the columns that the collator does not read: the same rows.
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.epoch_sampler = StateSampler(self.train_dataset["state_id"], seed)
        return self.epoch_sampler

    def _precompute_ref_logps(self, dataset, name, batch_size):
        """Add `ref_logps` under the policy as it is now, unless the data set brings them along."""
        if "ref_logps" in dataset.column_names:
            return dataset
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise InputError(
                "the reference log-probabilities cannot be had from a sharded policy before training; give them as "
                "the column `ref_logps`, or train without FSDP and DeepSpeed."
            )
        logps = cached_logps(
            self,
            dataset,
            self._reference_key,
            self._reference_pass,
            1,
            batch_size,
            "log-probabilities of the reference",
        )
        return dataset.add_column("ref_logps", logps[:, 0])

    def _reference_key(self) -> dict[str, Any]:
        policy = self.accelerator.unwrap_model(self.model)
        weights = module_fingerprint(policy, kept=getattr(policy, "peft_config", ()))
        return {"model": weights, **path_settings(self)}

    @contextmanager
    def _reference_pass(self) -> Iterator[Callable]:
        """The policy as it is now, in evaluation mode."""
        was_training = self.model.training
        model = self.model.to(self.accelerator.device).eval()

        def forward(inputs: dict[str, Any]) -> tuple[torch.Tensor]:
            inputs.pop("advantage")
            with torch.no_grad(), self.accelerator.autocast():
                return (self.policy_pass(model, inputs)[1],)

        yield forward
        model.train(was_training)

    def _compute_loss(self, model, inputs, return_outputs):
        advantages, reference = inputs.pop("advantage"), inputs.pop("ref_logps")
        outputs, logps = self.policy_pass(model, inputs)
        loss = direct_advantage_loss(logps, reference, advantages, self.beta).mean()
        log_ratio = logps.detach().float() - reference
        mask = inputs["completion_mask"][:, 1:]
        sums = pair_means(
            {
                "direct_advantage/advantage_size": advantages.abs(),
                "direct_advantage/target_size": advantages.abs() / self.beta,
                "direct_advantage/log_ratio_size": log_ratio.abs(),
                "direct_advantage/sign_agreement": (log_ratio * advantages > 0).float(),
                "direct_advantage/log_ratio": log_ratio,
            }
        )
        sums["entropy"] = token_mean(outputs.entropy[:, -mask.shape[1] :], mask)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss
            sums["aux_loss"] = (outputs.aux_loss.detach(), outputs.aux_loss.new_ones(()))
        self._record(sums, inputs)
        return (loss, outputs) if return_outputs else loss


def check_steps(dataset: Any) -> None:
    """Raise `InputError` naming the row and column unless the rows are steps of states."""
    from datasets import Dataset

    if not isinstance(dataset, Dataset):
        raise InputError("steps are trained on from a whole data set, not from a streamed one.")
    for name in ("advantage", "state_id", *(["ref_logps"] if "ref_logps" in dataset.column_names else [])):
        check_numeric_column(dataset, name, source="train_dataset")
    for name in ("prompt_ids", "completion_ids"):
        if name not in dataset.column_names:
            raise InputError(
                f"train_dataset has no column `{name}` (tokens); its columns are {', '.join(dataset.column_names)}."
            )
        for row, ids in enumerate(dataset[name]):
            if not isinstance(ids, list) or not ids or not all(type(token) is int for token in ids):
                raise InputError(
                    f"train_dataset, row {row} (counted from 0), field `{name}`: {ids!r}; expected a list of at least one "
                    "token."
                )


def actor_training(run: Run, folder: Path, seed: int) -> StepActorConfig:
    """The configuration of the policy's training; `InputError` for a field or value that it does not take."""
    reserved = {"beta": "set `beta` of the run"}
    return stage_training(run, "actor", StepActorConfig, folder, seed, reserved, beta=run.training.beta)


def train_actor(stage: Stage) -> None:
    """Write `actor/`, the policy after training on the steps.

    The trainer is always built at the iteration's policy, whatever checkpoint it then goes on from: built at a
    checkpoint, the reference would be a half-trained policy.
    """
    from datasets import Dataset

    context = stage.context
    config = actor_training(context.run, stage.folder, stage.state.base_seed + stage.state.iteration)
    dataset = Dataset.from_list(read_rows(stage.folder / "advantages.jsonl"))
    start = context.model_path(stage.state.policy)
    train_stage(stage.folder, "actor", assemble(context.run, StepActorTrainer, config, start, dataset), WATCHED)
