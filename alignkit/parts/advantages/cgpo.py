"""CGPO (arXiv 2409.20370): per task, what judges and calibrated rewards make each completion worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import InputError
from ...objectives.advantages.cgpo import BASELINES
from ...objectives.arguments import require_choice, require_range
from ...objectives.groups import sum_rewards
from ...objectives.judgements import join_judges
from ...objectives.preference.cgpo import check_cgpo_codpo
from ...objectives.rewards.cgpo import cgpo_constrained_reward, check_cgpo_kl_max
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .base import AdvantageEstimator
from .cgpo_updates import UPDATES, TaskBatch, Update


FALLBACKS = ("baseline", "skip")
# The task of a run without `tasks`.
ONLY_TASK = "default"


@dataclass
class CGPOAdvantagesConfig(PartConfig):
    r"""Settings of CGPO, of which each task may have its own.

    Parameters:
        optimizer (`str`, *optional*, defaults to `"crraft"`):
            `"crpg"` (policy gradient), `"codpo"` (online DPO) or `"crraft"` (best of the eligible completions).
        kl_max (`float`, *optional*):
            \( KL_{max} \); needed by crpg and crraft.
        codpo_beta, codpo_lam (`float`, *optional*, defaults to `0.1` and `5.0`):
            \( \beta \) and \( \lambda \) of CODPO.
        advantage_baseline (`str`, *optional*, defaults to `"batch"`):
            Over what CRPG averages.
        fallback (`str`, *optional*, defaults to `"baseline"`):
            What CRRAFT does with a prompt without an eligible completion.
        missing_eos_penalty (`float`, *optional*):
            Taken off the reward of a completion that was cut off.

    Raises:
        ValueError: for a value outside its range.
    """

    optimizer: str = field(
        default="crraft",
        metadata={
            "help": "What is made of rewards and verdicts: 'crpg' (policy gradient), 'codpo' (online DPO) or 'crraft' "
            "(likelihood of the best eligible completion). The paper chooses per task; the default is a public "
            "implementation's."
        },
    )
    kl_max: float | None = field(
        default=None,
        metadata={
            "help": "Largest log-ratio of a completion to the reference, in nats of the whole sequence, for crpg and crraft, "
            "which need it. Not given in the paper: lenient for maths, code and instructions, strict for chat. "
            "Valid: above 0."
        },
    )
    codpo_beta: float = field(
        default=0.1,
        metadata={"help": "Beta of CODPO. Valid: above 0. Not given in the paper; a public implementation's."},
    )
    codpo_lam: float = field(
        default=5.0,
        metadata={
            "help": "Weight of the chosen completion's likelihood in CODPO. Valid: at least 0. Not given in the paper; a "
            "public implementation's."
        },
    )
    advantage_baseline: str = field(
        default="batch",
        metadata={"help": "Over what CRPG averages: the task's 'batch' (paper) or the 'group' (ours)."},
    )
    fallback: str = field(
        default="baseline",
        metadata={
            "help": "A prompt without an eligible completion, in CRRAFT: 'baseline' (train on the baseline answer, if it "
            "satisfies every judge; paper) or 'skip'."
        },
    )
    missing_eos_penalty: float | None = field(
        default=None,
        metadata={"help": "Taken off the reward of a completion that was cut off. Valid: at least 0; none: nothing."},
    )

    def __post_init__(self):
        require_choice("optimizer", self.optimizer, tuple(UPDATES))
        require_choice("advantage_baseline", self.advantage_baseline, BASELINES)
        require_choice("fallback", self.fallback, FALLBACKS)
        if self.kl_max is not None:
            check_cgpo_kl_max(self.kl_max)
        check_cgpo_codpo(self.codpo_beta, self.codpo_lam)
        if self.missing_eos_penalty is not None:
            require_range("missing_eos_penalty", self.missing_eos_penalty, 0.0, math.inf, high_open=True)


@dataclass(frozen=True)
class Task:
    """One task of a run: its settings, its share of the gradient, and the columns of the rewards that are its own.

    Attributes:
        name: as the column `task` gives it.
        settings: of its optimizer.
        weight: rho; None: the task's share of the batch.
        rewards, constraints: columns of [N, K] that hold its rewards and its verdicts.
    """

    name: str
    settings: CGPOAdvantagesConfig
    weight: float | None = None
    rewards: tuple[int, ...] = ()
    constraints: tuple[int, ...] = ()

    @property
    def needs_baseline(self) -> bool:
        """Whether rewards are calibrated: CODPO compares the completions of one prompt alone."""
        return self.settings.optimizer != "codpo"


def task_of(row: dict[str, Any], tasks: Sequence[Task]) -> Task:
    """The task of a data set row; `InputError` where it names none of them."""
    name = row.get("task")
    if len(tasks) == 1 and (name is None or tasks[0].name == ONLY_TASK):
        return tasks[0]
    for task in tasks:
        if task.name == name:
            return task
    raise InputError(f"a row has `task` {name!r}; the tasks of the run are {', '.join(task.name for task in tasks)}.")


class CGPOAdvantages(AdvantageEstimator):
    """`cgpo`: rewards calibrated against a baseline answer, constraints by judges, and the update that a task chooses.

    The trainer of CGPO alone has tasks, baseline answers and judges, which it puts into `tasks`. State: the baseline
    answers that were sampled, {key of the prompt: text}, and the rewards of those that were scored, {key of the row: K
    rewards}.
    """

    Config = CGPOAdvantagesConfig
    needs_old_logps = True
    ignores = {
        **AdvantageEstimator.ignores,
        "mask_truncated_completions": "a completion that was cut off is judged as any other; see `missing_eos_penalty`, "
        "or the constraint `length`.",
    }

    def __init__(self, config: Any, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.tasks: list[Task] = []
        self.baselines: dict[str, list[float]] = {}
        self.answers: dict[str, str] = {}

    @classmethod
    def extras(cls, config: Any) -> tuple[str, ...]:
        return ("from_baseline",)

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        if not hasattr(args, "tasks"):
            raise InputError("advantage `cgpo` needs judges and baseline answers; train the method `cgpo`.")

    def estimate(self, batch: RolloutBatch) -> Advantages:
        rows = [task_of(row, self.tasks).name for row in batch.rows]
        values = batch.old_logps.new_zeros(len(rows))
        from_baseline = torch.zeros(len(rows), dtype=torch.bool, device=values.device)
        metrics: dict[str, float] = {}
        # The trainer's loss is a mean over the tokens of the generation batch; a task's divisor is its own.
        tokens = batch.mask.sum()
        for task in self.tasks:
            chosen = torch.tensor([name == task.name for name in rows], device=values.device)
            if not chosen.any():
                continue
            own = self._task_batch(task, batch, chosen)
            update = UPDATES[task.settings.optimizer](own, task.settings)
            weight = chosen.float().mean().item() if task.weight is None else task.weight
            values[chosen] = update.weights * (weight * tokens)
            from_baseline[chosen] = update.from_baseline
            metrics |= {f"cgpo/{task.name}/{name}": value for name, value in measure(task, own, update, batch).items()}
        return Advantages(values, {"from_baseline": from_baseline}, metrics)

    def _task_batch(self, task: Task, batch: RolloutBatch, chosen: torch.Tensor) -> TaskBatch:
        """The rows of a task."""
        mask, settings = batch.mask[chosen], task.settings
        weights = batch.reward_weights[list(task.rewards)]
        table = batch.rewards[chosen][:, list(task.rewards)]
        rewards = sum_rewards(table, weights)
        if settings.missing_eos_penalty is not None:
            rewards = rewards - settings.missing_eos_penalty * batch.truncated[chosen]
        if task.needs_baseline:
            theirs, lengths = batch.baseline_rewards[chosen], batch.baseline_lengths[chosen]
        else:
            theirs, lengths = torch.full_like(batch.rewards[chosen], math.nan), torch.zeros_like(mask.sum(dim=1))
        baseline = theirs[:, list(task.rewards)]
        # Sums of different functions cannot be compared.
        differ = (baseline.isnan() != table.isnan()).any(dim=1)
        limit = math.inf if batch.max_completion_length is None else batch.max_completion_length
        return TaskBatch(
            rewards=rewards,
            baseline_rewards=sum_rewards(baseline, weights).masked_fill(differ, math.nan),
            satisfied=verdicts(batch.rewards[chosen], task.constraints),
            logps=torch.where(mask, batch.old_logps[chosen], 0.0).sum(dim=1),
            ref_logps=torch.where(mask, batch.ref_logps[chosen], 0.0).sum(dim=1),
            lengths=mask.sum(dim=1),
            baseline_satisfied=verdicts(theirs, task.constraints),
            baseline_lengths=torch.where(lengths <= limit, lengths, 0),
            num_generations=batch.num_generations,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"baselines": self.baselines, "answers": self.answers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.baselines, self.answers = state["baselines"], state["answers"]


def verdicts(table: torch.Tensor, columns: Sequence[int]) -> torch.Tensor:
    """[n, M] verdicts out of the rewards; without a constraint, one that everything satisfies."""
    return table[:, list(columns)] if columns else torch.ones_like(table[:, :1])


def measure(task: Task, own: TaskBatch, update: Update, batch: RolloutBatch) -> dict[str, float]:
    """What to log of a task: violations by judge, calibrated reward, distance to the reference, what is trained on."""
    joint = join_judges(own.satisfied, len(own.rewards))
    log_ratio = own.logps - own.ref_logps
    found = {
        "violated": joint.violated.float().mean(),
        "unknown": (~joint.violated & ~joint.satisfied).float().mean(),
        "reward": own.rewards.nanmean(),
        "log_ratio": log_ratio.mean(),
        "trained": update.trained.float().mean(),
    }
    for place, column in enumerate(task.constraints):
        name, verdict = batch.reward_names[column], own.satisfied[:, place]
        found[f"violated/{name}"] = (verdict == 0).float().mean()
        found[f"unknown/{name}"] = verdict.isnan().float().mean()
    if task.needs_baseline:
        assert task.settings.kl_max is not None
        free = torch.ones_like(own.rewards)
        found["calibrated_reward"] = cgpo_constrained_reward(own.rewards, own.baseline_rewards, free).nanmean()
        found["constrained_reward"] = cgpo_constrained_reward(
            own.rewards, own.baseline_rewards, own.satisfied
        ).nanmean()
        found["no_baseline"] = own.baseline_rewards.isnan().float().mean()
        found["above_kl_max"] = (log_ratio > task.settings.kl_max).float().mean()
    if task.settings.optimizer == "crraft":
        found["from_baseline"] = own.num_generations * update.from_baseline.float().mean()
    return {**{name: value.item() for name, value in found.items()}, "loss": update.loss}
