"""Two-stage MPO from a configuration: the stages in order, each once, whatever kills the process in between."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ...config import Run
from ...data import column_specs, load_for_run, validate_rows
from ...data.bundled import resolve_model
from ...errors import InputError
from ...judges import Judge
from ...judges.estimate import Work, estimate, mean_tokens
from ..iterative.files import link, remove_unfinished, write_text
from ..iterative.judging import build_judge
from ..iterative.prepare import REPLIES, check_model
from ..iterative.settings import run_settings
from ..iterative.stages.record import dump, read_metrics
from ..run_state import RunState
from .selection import Rows, pair_rows, score_columns
from .stages import run_dpo, run_rl, run_select, stage_training


logger = logging.getLogger(__name__)

STAGES = ("select", "dpo", "rl")


@dataclass
class MPOState(RunState):
    """Where a run stands.

    Attributes:
        stage_done: finished stages, in order.
        reward: {name, fingerprint} of the reward, which scores the pairs and the responses.
        threshold: gamma, known after `select`.
        reference: path (in the run's folder) of the DPO model, start and reference of the second stage.
    """

    stage_done: list[str] = field(default_factory=list)
    reward: dict[str, str] = field(default_factory=dict)
    threshold: float | None = None
    reference: str = "dpo"


class MPORunner:
    """Runs, or goes on with, two-stage MPO in the `output_dir` of a configuration.

    Args:
        run: the configuration, of `load_run("mpo", ...)`.
        judge: the reward; default: what the configuration names.

    Raises `InputError` before anything is computed for a bad configuration, data set, model or reward, and where the
    folder holds a run with other settings.
    """

    def __init__(self, run: Run, judge: Judge | None = None) -> None:
        self.run_config = run
        self.folder = Path(run.training.output_dir)
        check_model(run)
        for stage in ("dpo", "rl"):
            stage_training(run, stage, self.folder)
        self.rows, self.source = load_pairs(run)
        self.judge = judge or build_reward(run, self.rows, str(self.folder / REPLIES))
        if not self.judge.has_scores:
            raise InputError(f"`reward` is {run.training.reward!r}, which compares two responses and gives no scores.")
        settings = run_settings(run, self.judge, self.rows, None)
        state = MPOState.load(self.folder)
        if state is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            reward = {"name": str(run.training.reward), "fingerprint": self.judge.fingerprint}
            state = MPOState(method=run.method.key, config=settings, reward=reward)
            state.save(self.folder)
        else:
            state.check_unchanged(settings, self.folder)
        self.state = state

    def stages(self) -> dict[str, Callable[[], None]]:
        """The stages in order, by the name of what they write."""
        run, folder = self.run_config, self.folder
        start = resolve_model(run.model.model_name_or_path)
        return {
            "select": lambda: run_select(run, folder, self.rows, self.judge, self.source),
            "dpo": lambda: run_dpo(run, folder, start),
            "rl": lambda: run_rl(run, folder, self.judge),
        }

    def run(self) -> str:
        """Run what is left; return the path of the final model, also linked as `final` in the run's folder."""
        remove_unfinished(self.folder)
        if "rl" not in self.state.stage_done:
            for line in reward_costs(self.run_config, self.judge, self.rows, self.source):
                logger.info("cost: %s", line)
        for name, stage in self.stages().items():
            self.run_stage(name, stage)
        self.report()
        link((self.folder / "rl").resolve(), self.folder / "final")
        return str(self.folder / "rl")

    def run_stage(self, name: str, stage: Callable[[], None]) -> None:
        """Run a stage unless its output is there: an output has its name only when it is whole."""
        if name in self.state.stage_done:
            return
        if not (self.folder / name).exists():
            logger.info("Stage %d of %d: %s", STAGES.index(name) + 1, len(STAGES), name)
            stage()
        if name == "select":
            facts = read_metrics(self.folder / "select" / "selection.json")
            self.state.threshold = facts["threshold"]
            logger.info(
                "gamma = %.6g: %d easy pairs, %d hard ones, %d without a score",
                *(facts[key] for key in ("threshold", "easy", "hard", "not_scored")),
            )
        self.state.stage_done.append(name)
        self.state.save(self.folder)

    def report(self) -> None:
        """Write `metrics.json`: the facts of the split and the numbers of both trainings."""
        metrics = {"select": read_metrics(self.folder / "select" / "selection.json")}
        metrics |= {name: read_metrics(self.folder / f"{name}_metrics.json") for name in ("dpo", "rl")}
        write_text(self.folder / "metrics.json", dump(metrics))


def reward_costs(run: Run, judge: Judge, rows: Rows, source: str) -> list[str]:
    """What the reward may cost where it has to be paid: one sentence for each endpoint, both stages together."""
    rl = stage_training(run, "rl", Path(run.training.output_dir))
    prompt_tokens = mean_tokens(row["prompt"] for row in rows)
    work = []
    if score_columns(rows, run.training, source) is None:
        responses = [row[name] for row in rows for name in ("chosen", "rejected")]
        work.append(Work(len(rows), 2, prompt_tokens, mean_tokens(responses)))
    # At most all pairs are hard; every response of the second stage is scored alone.
    steps = rl.per_device_train_batch_size * rl.gradient_accumulation_steps * rl.max_steps / rl.num_iterations
    sampled = steps if rl.max_steps > 0 else rl.num_train_epochs * len(rows) * rl.num_generations
    work.append(Work(math.ceil(sampled), 1, prompt_tokens, rl.max_completion_length or 0))
    return estimate(judge, work)


def load_pairs(run: Run) -> tuple[Rows, str]:
    """The pairs of the run, checked, and the name of their data set."""
    from datasets import Dataset

    dataset, _, source = load_for_run(run.script, run.mixture, run.training.seed)
    if not isinstance(dataset, Dataset):
        raise InputError(f"{source}: the split needs the whole data set; set dataset_streaming to false.")
    validate_rows(dataset, column_specs(("prompt", "chosen", "rejected")), source=source)
    return pair_rows(dataset), source


def build_reward(run: Run, rows: Rows, cache: str | None = None) -> Judge:
    """The judge that the configuration names as the reward; `cache` keeps the replies that have to be paid for."""
    config: Any = SimpleNamespace(judge=run.training.reward, answer_column=run.training.answer_column)
    try:
        return build_judge(config, rows, cache)
    except InputError as error:
        raise InputError(f"`reward`: {error}") from None
