"""Direct advantage from a configuration: the stages of each iteration in order, whatever kills the process in between."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from ...config import Run
from ...data import load_for_run
from ...errors import InputError
from ...judges import Judge
from ..iterative.context import Context
from ..iterative.files import link, remove_unfinished, write_text
from ..iterative.prepare import REPLIES, check_model
from ..iterative.rule import IterationRule
from ..iterative.settings import run_settings
from ..iterative.stages.prompts import prompt_rows
from ..iterative.stages.record import dump, read_metrics
from .actor import actor_training, train_actor
from .advantages import write_advantages
from .critic import critic_training, train_critic
from .scoring import build_reward
from .stage import Rows, Stage, StepState
from .states import write_states
from .values import write_values


logger = logging.getLogger(__name__)

# The stages in order: what they write, which has its name only when it is whole.
OUTPUTS = {
    "states": "states.jsonl",
    "values": "values.jsonl",
    "critic": "critic",
    "advantages": "advantages.jsonl",
    "actor": "actor",
}


class DirectAdvantageRunner:
    """Runs, or goes on with, direct advantage in the `output_dir` of a configuration.

    Args:
        run: the configuration, of `load_run("direct_advantage", ...)`.
        judge: scores responses in [0, 1]; default: what the configuration names as `reward`.

    Raises `InputError` before anything is computed for a bad configuration, data set, model or reward, and where the
    folder holds a run with other settings.
    """

    def __init__(self, run: Run, judge: Judge | None = None) -> None:
        self.folder = Path(run.training.output_dir)
        check_model(run)
        for configure in (critic_training, actor_training):
            configure(run, self.folder, run.training.seed)
        rows = load_problems(run)
        judge = judge or build_reward(run, rows, str(self.folder / REPLIES))
        settings = run_settings(run, judge, rows, None)
        state = StepState.load(self.folder)
        if state is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            state = StepState(
                method=run.method.key,
                config=settings,
                base_seed=run.training.seed,
                policy=str(run.model.model_name_or_path),
            )
            state.save(self.folder)
        else:
            state.check_unchanged(settings, self.folder)
        self.state = state
        no_rule = cast(IterationRule, None)  # no pairs are made
        self.stage = Stage(Context(run, no_rule, judge, self.folder, cast(Any, state)), state, rows, judge)

    def stages(self) -> dict[str, Callable[[Stage], None]]:
        """The stages of an iteration, in order."""
        return {
            "states": write_states,
            "values": write_values,
            "critic": train_critic,
            "advantages": write_advantages,
            "actor": train_actor,
        }

    def run(self) -> str:
        """Run what is left; return the path of the final policy, also linked as `final` in the run's folder."""
        config = self.stage.config
        while self.state.iteration < config.num_iterations:
            logger.info("Iteration %d of %d", self.state.iteration + 1, config.num_iterations)
            self.stage.folder.mkdir(exist_ok=True)
            remove_unfinished(self.stage.folder)
            for name, stage in self.stages().items():
                self.run_stage(name, stage)
            self.finish_iteration()
        final = self.stage.context.model_path(self.state.policy)
        link(Path(final), self.folder / "final")
        return final

    def run_stage(self, name: str, stage: Callable[[Stage], None]) -> None:
        """Run a stage unless its output is there."""
        if name in self.state.stage_done:
            return
        if not (self.stage.folder / OUTPUTS[name]).exists():
            logger.info("Iteration %d: %s", self.state.iteration + 1, name)
            stage(self.stage)
        numbers = read_metrics(self.stage.folder / f"{name}_metrics.json")
        logger.info("%s: %s", name, ", ".join(f"{key} {short(value)}" for key, value in numbers.items()))
        self.state.stage_done.append(name)
        self.state.save(self.folder)

    def finish_iteration(self) -> None:
        """Make the result the next policy, in one write of the state; then report."""
        folder = self.stage.folder
        self.state.history.append({name: read_metrics(folder / f"{name}_metrics.json") for name in OUTPUTS})
        self.state.policy, self.state.critic = f"{folder.name}/actor", f"{folder.name}/critic"
        self.state.iteration += 1
        self.state.stage_done = []
        self.state.save(self.folder)
        write_text(self.folder / "metrics.json", dump({"iterations": self.state.history}))


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def load_problems(run: Run) -> Rows:
    """The problems of the run, each with its row in the data set as `prompt_id`."""
    from datasets import Dataset

    dataset, _, source = load_for_run(run.script, run.mixture, run.training.seed)
    if not isinstance(dataset, Dataset):
        raise InputError(f"{source}: the stages need the whole data set; set dataset_streaming to false.")
    rows = prompt_rows(dataset, source, run.training.num_prompts)
    return [{**row, "prompt_id": place} for place, row in enumerate(rows)]
