"""CGPO: Constrained Generative Policy Optimization with a mixture of judges (arXiv 2409.20370)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...catalog import get
from ...errors import InputError
from ...objectives.arguments import require_choice, require_range
from ...parts.advantages.cgpo import CGPOAdvantagesConfig, Task, task_of
from ...parts.part import default_of
from ...parts.rollout import Advantages
from ...rewards import ResolvedRewards
from ...rewards.per_task import TASK_COLUMN
from .base import OnlineTrainer
from .baselines import BaselinesMixin
from .cgpo_tasks import plan_tasks, read_tasks
from .config import OnlineConfig
from .one import One


BASELINE_SOURCES = ("column", "initial_policy")


@dataclass
class CGPOConfig(OnlineConfig, CGPOAdvantagesConfig):
    r"""Configuration of [`CGPOTrainer`]: that of [`OnlineConfig`], the settings of CGPO, judges and tasks.

    Parameters:
        constraints (`list`, *optional*):
            The judges: names, `judge:SPEC`, dotted paths, or mappings `{name: ..., ...}`.
        tasks (`dict`, *optional*):
            `{task: {reward_funcs, constraints, weight, optimizer, kl_max, ...}}`; what a task does not set is the
            configuration's own.
        baseline_column (`str`, *optional*, defaults to `"baseline_completion"`):
            Column of the baseline answer.
        baseline_source (`str`, *optional*, defaults to `"column"`):
            `"column"`, or `"initial_policy"`: rows without an answer there get one that is sampled once.
        num_generations (`int`, *optional*, defaults to `4`):
            K.
        temperature (`float`, *optional*, defaults to `0.9`):
            Sampling temperature.

    Raises:
        InputError: for tasks that cannot be read, a missing `kl_max`, a setting without effect, and parts that change
            rewards or completions after they were sampled.
    """

    num_generations: int | None = field(
        default=4,
        metadata={
            "help": "Completions per prompt. Valid: at least 1, for codpo 2. The paper takes more for maths, code and instructions than "
            "for chat and gives no number; 4 is a public implementation's."
        },
    )
    temperature: float = field(
        default=0.9,
        metadata={
            "help": "Sampling temperature, which log-probabilities contain. Valid: above 0. Not given in the paper; a public "
            "implementation's."
        },
    )
    constraints: list[Any] | None = field(
        default=None,
        metadata={
            "help": "Judges that every completion must satisfy: names (`alignkit rewards` lists them), judge:SPEC with "
            "`at_least`, dotted paths, or mappings {name: ..., settings}. A task may have its own."
        },
    )
    tasks: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": "Tasks by the data set's column `task`: {task: {reward_funcs, constraints, weight, optimizer, kl_max, "
            "...}}. What a task leaves out is the run's own. `weight`: its part of the gradient (default: its share of the "
            "batch; the paper gives none)."
        },
    )
    baseline_column: str = field(
        default="baseline_completion",
        metadata={
            "help": "Column of the baseline answer that a reward is calibrated against: a text, or messages. Scored once "
            "and kept in checkpoints. CODPO needs none."
        },
    )
    baseline_source: str = field(
        default="column",
        metadata={
            "help": "Where baseline answers come from: 'column' (`baseline_column`), or 'initial_policy': a row that brings "
            "none gets one of the policy as it began, sampled once at the run's temperature and kept in checkpoints."
        },
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "cgpo", "policy_loss": "cgpo"}

    def __post_init__(self):
        for slot in ("reward_shaping", "guidance", "replay", "allocator"):
            if getattr(self, slot) is not None:
                raise InputError(
                    f"`{slot}` is {getattr(self, slot)!r}, but cgpo compares completions of the policy as they were sampled "
                    "and scored with a baseline answer; leave it out."
                )
        generations = self.num_generations
        if generations is None:
            generations = default_of(CGPOConfig, "num_generations")
        require_range("num_generations", generations, 1)
        # TRL's checks of batch sizes and groups take place with a 1 that passes for 2.
        self.num_generations = One(1) if generations == 1 else generations
        super().__post_init__()
        self.num_generations = generations
        self.planned_tasks: list[Task] = list(read_tasks(self).values())
        self._check_baseline_source()

    def _check_baseline_source(self) -> None:
        require_choice("baseline_source", self.baseline_source, BASELINE_SOURCES)
        if self.baseline_source == "column":
            return
        if not any(task.needs_baseline for task in self.planned_tasks):
            raise InputError(
                f"`baseline_source` is {self.baseline_source!r}, but codpo, which all tasks use, has no baseline answer."
            )
        if self.sync_ref_model:
            raise InputError(
                f"`baseline_source` is {self.baseline_source!r}, but `sync_ref_model` moves the reference, which is asked for "
                "the answers of the initial policy; leave one of them out."
            )

    @property
    def needs_reference(self) -> bool:
        return True

    def rewards_of(self, given: Any) -> ResolvedRewards:
        plan = plan_tasks(self, given)
        self.planned_tasks = list(plan.tasks)
        return plan.rewards

    def check_columns(self, columns: Sequence[str], source: str) -> None:
        if len(self.planned_tasks) > 1 and TASK_COLUMN not in columns:
            raise InputError(
                f"{source}: the column `{TASK_COLUMN}` is missing, and the run has the tasks "
                f"{', '.join(task.name for task in self.planned_tasks)}; columns: {', '.join(columns)}."
            )
        needing = [task.name for task in self.planned_tasks if task.needs_baseline]
        if needing and self.baseline_source == "column" and self.baseline_column not in columns:
            raise InputError(
                f"{source}: the column `{self.baseline_column}` is missing, against which the rewards of "
                f"{', '.join(needing)} are calibrated; name another with `baseline_column`, have the answers sampled with "
                f"`baseline_source: initial_policy`, or use `optimizer: codpo`. Columns: {', '.join(columns)}."
            )

    def warnings(self) -> list[str]:
        free = [
            task.name
            for task in self.planned_tasks
            if not (((self.tasks or {}).get(task.name) or {}).get("constraints", self.constraints))
        ]
        unbound = [f"no constraint binds {', '.join(free)}: only the reward counts there."] if free else []
        return [*super().warnings(), *unbound]


class CGPOTrainer(BaselinesMixin, OnlineTrainer):
    """Raises the likelihood of completions that beat a baseline answer, as far as every judge is satisfied.

    Arguments are those of [`OnlineTrainer`], and `constraints`, which may be functions, in the place of those of `args`, a
    [`CGPOConfig`]. Every data set row has `prompt`, the baseline answer, `task` where the run has several, and what its
    rewards and judges read.
    """

    _tag_names = ["alignkit", "trl", "cgpo"]
    _name = "CGPO"
    _paper = get("cgpo").paper
    method_key = "cgpo"

    args: CGPOConfig

    def __init__(
        self,
        model,
        reward_funcs=None,
        args: CGPOConfig | None = None,
        *,
        constraints: list[Any] | None = None,
        **kwargs,
    ):
        if args is None:
            raise InputError("cgpo has no default for `kl_max`: give `args=CGPOConfig(kl_max=..., ...)`.")
        known = args.constraints
        args.constraints = known if constraints is None else constraints
        try:
            super().__init__(model, reward_funcs, args, **kwargs)
        finally:
            args.constraints = known  # functions cannot be saved with the configuration
        self._seen_in_evaluation: dict[str, list[float]] = {}
        self._answered_in_evaluation: dict[str, str] = {}
        if args.baseline_source == "initial_policy":
            self.check_baseline_sampling()
        self.parts["advantage"].tasks = args.planned_tasks
        for name, dataset in {"train_dataset": self.train_dataset, "eval_dataset": self.eval_dataset}.items():
            for part, rows in dataset.items() if isinstance(dataset, dict) else [(name, dataset)]:
                if getattr(rows, "column_names", None):
                    args.check_columns(rows.column_names, part)
                    self._check_tasks(rows, part)
        if self._is_vlm and any(task.settings.fallback == "baseline" for task in self._tasks_of("crraft")):
            raise InputError(
                "crraft cannot put a baseline answer in a completion's place with images: `fallback: skip`."
            )

    def _tasks_of(self, optimizer: str) -> list[Task]:
        return [task for task in self.args.planned_tasks if task.settings.optimizer == optimizer]

    def _check_tasks(self, rows: Any, source: str) -> None:
        """Refuse rows of a task that the run does not know, before any weight moves."""
        if TASK_COLUMN not in rows.column_names or not hasattr(rows, "__len__"):
            return
        for index, name in enumerate(rows[TASK_COLUMN]):
            try:
                task_of({TASK_COLUMN: name}, self.args.planned_tasks)
            except InputError as error:
                raise InputError(f"{source}, row {index} (counted from 0): {error}") from None

    def needs_baseline(self, row: dict[str, Any]) -> bool:
        return task_of(row, self.args.planned_tasks).needs_baseline

    def _place(self, advantages: Advantages, output: dict[str, Any]) -> None:
        super()._place(advantages, output)
        replaced = output["from_baseline"] != 0
        if "importance_sampling_ratio" in output:
            self._keep_sampler_ratio(output)
        self.put_baselines(output, torch.where(replaced)[0])

    def _keep_sampler_ratio(self, output: dict[str, Any]) -> None:
        """Correct for what vLLM sampled in CRPG alone: the losses of the others are not expectations over samples."""
        policy_gradient = {task.name for task in self._tasks_of("crpg")}
        rows = [task_of(row, self.args.planned_tasks).name in policy_gradient for row in self._rows]
        keep = torch.tensor(rows, device=output["importance_sampling_ratio"].device)
        ratio = output["importance_sampling_ratio"]
        output["importance_sampling_ratio"] = torch.where(keep[:, None], ratio, 1.0)
