"""SePPO (arXiv 2410.05255): winners only; samples of earlier checkpoints stand in for the losers."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch

from ...catalog import get
from ...objectives.arguments import require_choice, require_range
from ...objectives.diffusion import check_seppo, seppo_flip, seppo_loss
from ...objectives.sampling import REFERENCE_STRATEGIES, seppo_reference_index
from .base import DiffusionTrainer
from .config import DiffusionConfig
from .errors import Pair
from .lora import require_same_names, snapshot, trainable
from .pixels import generated_time_ids
from .pool import FOLDER, ReferencePool
from .references import checkpoint_reference
from .seeds import generator_of, seed_of


@dataclass
class SePPOConfig(DiffusionConfig):
    """Configuration of [`SePPOTrainer`]: that of [`DiffusionConfig`] and how checkpoints become references.

    Training takes `num_iterations * steps_per_iteration` updates; `num_train_epochs` is not read.
    """

    steps_per_iteration: int = field(
        default=30,
        metadata={
            "help": "Updates after which the weights join the reference pool. Valid: at least 1; 30 in the paper."
        },
    )
    num_iterations: int = field(
        default=7,
        metadata={"help": "Iterations, each with a reference drawn anew. Valid: at least 1; 7 in the paper."},
    )
    reference_strategy: str = field(
        default="random",
        metadata={
            "help": "Which checkpoint is the reference of an iteration. Valid: random (the method: uniform over all so "
            "far), initial, latest."
        },
    )
    flipper: str = field(
        default="sign",
        metadata={
            "help": "When the reference's sample counts as a loser. Valid: sign (the method: where the policy predicts the "
            "winner better than the reference; else it counts as a winner), indicator (else it is left out), none (always "
            "a loser: Diffusion-DPO against the sample)."
        },
    )
    per_device_sampling_batch_size: int = field(
        default=8, metadata={"help": "Reference samples made at once on a device. Valid: at least 1."}
    )
    max_steps: int = field(default=-1, metadata={"help": "Leave out: it is `num_iterations` x `steps_per_iteration`."})

    def __post_init__(self):
        super().__post_init__()
        check_seppo(self.beta, self.flipper)
        require_choice("reference_strategy", self.reference_strategy, REFERENCE_STRATEGIES)
        for name in ("steps_per_iteration", "num_iterations", "per_device_sampling_batch_size"):
            require_range(name, getattr(self, name), 1)
        steps = self.num_iterations * self.steps_per_iteration
        if self.max_steps not in (-1, steps):
            raise ValueError(
                f"`max_steps` is {self.max_steps}; leave it out: SePPO takes `num_iterations` x `steps_per_iteration` = "
                f"{steps} updates."
            )
        self.max_steps = steps


class SePPOTrainer(DiffusionTrainer):
    """Trains a denoiser on the preferred `image` of each `prompt` alone.

    At the start of iteration k a checkpoint r of the k so far becomes the reference; it samples an image for every prompt
    of the iteration, without gradient, when the update that needs it comes. A sample is a function of the seed, the
    iteration and the row, so that a resumed run samples the same.
    """

    _tag_names = ["alignkit", "seppo"]
    _name = "SePPO"
    _paper = get("seppo").paper
    method_key = "seppo"
    image_columns = ("image",)

    args: SePPOConfig

    def __init__(self, model, args, train_dataset, **kwargs):
        super().__init__(model, args, train_dataset, **kwargs)
        self.generators["reference"] = generator_of(args.seed, "reference")  # the same draws on every process
        self.pool = ReferencePool(os.path.join(args.output_dir, FOLDER))
        self.iteration: int | None = None
        self.reference_index = 0

    def make_reference(self):
        return checkpoint_reference(self.model)

    # Iterations

    def train(self, *args, **kwargs):
        """As [`DiffusionTrainer`]; without a checkpoint to go on from, the pool begins with the initial model."""
        self._write_snapshot(0)
        return super().train(*args, **kwargs)

    def before_update(self):
        self._begin(self.state.global_step // self.args.steps_per_iteration)

    def prepare(self, batches):
        if self.iteration is None:  # an evaluation before training
            self._begin(0)
        conditions = {
            name: torch.cat([batch["conditions"][name] for batch in batches]) for name in batches[0]["conditions"]
        }
        rows = torch.cat([batch["row"] for batch in batches]).tolist()
        latents = self._reference_samples(conditions, rows)
        parts = latents.split([len(batch["row"]) for batch in batches])
        return [{**batch, "sample_latents": part} for batch, part in zip(batches, parts, strict=True)]

    def _begin(self, iteration: int) -> None:
        """Draw the reference of an iteration, unless it has begun already."""
        if iteration == self.iteration:
            return
        draw = torch.rand((), generator=self.generators["reference"], dtype=torch.float64).item()
        self.iteration = iteration
        self.reference_index = seppo_reference_index(iteration + 1, draw, self.args.reference_strategy)
        self.reference.load(self.pool.read(self.reference_index))

    def _reference_samples(self, conditions: dict[str, torch.Tensor], rows: list[int]) -> torch.Tensor:
        seeds = [seed_of(self.args.seed, "reference sample", self.iteration or 0, row) for row in rows]
        size, parts = self.args.per_device_sampling_batch_size, []
        with self.reference.active() as module:
            for start in range(0, len(rows), size):
                part = {name: values[start : start + size] for name, values in conditions.items()}
                parts.append(self.sample_latents(module, part, seeds[start : start + size]))
        return torch.cat(parts)

    def after_update(self):
        super().after_update()
        done, rest = divmod(self.state.global_step, self.args.steps_per_iteration)
        if rest == 0:
            self._write_snapshot(done)

    def _write_snapshot(self, index: int) -> None:
        if self.accelerator.is_main_process:
            self.pool.write(index, snapshot(self.model))
        self.accelerator.wait_for_everyone()

    # The loss

    def pair(self, batch):
        first = batch["latents"]["image"]
        second_time_ids = generated_time_ids(len(first), self.resolution).to(first.device)
        return Pair(first, batch["sample_latents"], batch["time_ids"]["image"], second_time_ids, batch["conditions"])

    def pair_loss(self, errors):
        return seppo_loss(
            errors.policy_first,
            errors.policy_second,
            errors.ref_first,
            errors.ref_second,
            beta=self.args.beta,
            flipper=self.args.flipper,
        )

    def pair_metrics(self, errors):
        flip = seppo_flip(errors.policy_first, errors.ref_first, self.args.flipper)
        index = torch.tensor(float(self.reference_index), device=flip.device)
        return {"flip_rate": (flip > 0).float(), "reference_index": index}

    # Checkpoints

    def method_state(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "reference_index": self.reference_index,
            "num_snapshots": self.state.global_step // self.args.steps_per_iteration + 1,
        }

    def save_method_files(self, folder):
        count = self.state.global_step // self.args.steps_per_iteration + 1
        self.pool.copy_to(os.path.join(folder, FOLDER), count)

    def load_method_state(self, state, folder):
        saved = ReferencePool(os.path.join(folder, FOLDER))
        saved.require(state["num_snapshots"])
        for index in range(state["num_snapshots"]):
            require_same_names(set(trainable(self.model)), saved.names(index), str(saved.path(index)))
        if self.accelerator.is_main_process:
            saved.copy_to(self.pool.folder, state["num_snapshots"])
            self.pool.truncate(state["num_snapshots"])
        self.accelerator.wait_for_everyone()
        self.iteration, self.reference_index = state["iteration"], state["reference_index"]
        if self.iteration is not None:
            self.reference.load(self.pool.read(self.reference_index))
