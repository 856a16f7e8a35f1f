"""The loop itself: stages in order, each once, whatever kills the process in between."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...config import Run
from ...judges import Judge
from .context import Context, is_own
from .files import link, publish, remove, remove_unfinished, temporary_path, write_rows
from .picture import draw
from .plan import plan_loop
from .prepare import prepare
from .rule import IterationRule
from .settings import run_settings
from .stages.advance import advance
from .stages.evaluate import METRICS, baseline, evaluate, evaluation_dir
from .stages.generate import generate
from .stages.judge import judge as judge_stage
from .stages.pairs import pairs
from .stages.prompts import prompts, read_order, write_order
from .stages.record import read_metrics
from .stages.reference import reference
from .stages.train import train
from .state import Best, LoopState, Replayable


logger = logging.getLogger(__name__)

# Output of each stage, in order: it is renamed to this name when it is whole.
OUTPUTS = {
    "prompts": "prompts.jsonl",
    "generate": "responses.jsonl",
    "judge": "judgements.npz",
    "pairs": "pairs.jsonl",
    "reference": "dataset.jsonl",
    "train": "trained",
    "advance": "policy",
    "evaluate": METRICS,
}


class LoopRunner:
    """Runs, or goes on with, the loop of one configuration in its `output_dir`.

    Args:
        run: the configuration, of `load_run(loop_method(key), ...)`.
        rule: what the method sets; default: the method's own.
        judge: default: what the configuration names.

    Raises `InputError` before anything is computed for a bad configuration, data set, model or judge, and where the
    folder holds a run with other settings.
    """

    def __init__(self, run: Run, rule: IterationRule | None = None, judge: Judge | None = None) -> None:
        self.folder = Path(run.training.output_dir)
        prepared = prepare(run, rule, judge)
        rule, judge, rows, eval_rows = prepared.rule, prepared.judge, prepared.rows, prepared.eval_rows
        settings = run_settings(run, judge, rows, eval_rows)
        state = LoopState.load(self.folder)
        if state is None:
            state = self.begin(run, settings, judge, prepared.order)
        else:
            state.check_unchanged(settings, self.folder)
        self.context = Context(run, rule, judge, self.folder, state)
        order = read_order(self.context)
        if eval_rows is None:
            self.eval_rows = [{**rows[place], "prompt_id": place} for place in order["eval"]]
        else:
            self.eval_rows = [{**row, "prompt_id": place} for place, row in enumerate(eval_rows)]
        self.rows = rows
        self.plan = plan_loop(run.training, prepared)

    def begin(self, run: Run, settings: dict[str, Any], judge: Judge, order: dict[str, list[int]]) -> LoopState:
        """The state of a new run, on disk."""
        config = run.training
        self.folder.mkdir(parents=True, exist_ok=True)
        start = run.model.model_name_or_path
        state = LoopState(
            method=run.method.key,
            config=settings,
            base_seed=config.seed,
            num_iterations=config.num_iterations,
            samples_per_prompt=config.num_generations,
            prompt_order=write_order(self.folder, order),
            judge={"name": config.judge, "fingerprint": judge.fingerprint},
            policy=start,
            reference=start,
            trained=start,
            previous_trained=start,
            best=Best(0, start, 0.5),
        )
        state.save(self.folder)
        return state

    def stages(self) -> dict[str, Callable[[], None]]:
        """The stages of an iteration, in order."""
        context = self.context
        return {
            "prompts": lambda: prompts(context, self.rows),
            "generate": lambda: generate(context),
            "judge": lambda: judge_stage(context),
            "pairs": lambda: pairs(context),
            "reference": lambda: reference(context),
            "train": lambda: train(context),
            "advance": lambda: advance(context),
            "evaluate": lambda: evaluate(context, self.eval_rows),
        }

    def run(self) -> str:
        """Run what is left; return the path of the final model, also linked as `final` in the run's folder."""
        state = self.context.state
        for line in [] if state.finished else self.plan.lines():
            logger.info("%s", line)
        if not state.history:
            if not (evaluation_dir(self.context, 0) / METRICS).exists():
                baseline(self.context, self.eval_rows)
            state.history.append(read_metrics(evaluation_dir(self.context, 0) / METRICS))
            self.save()
        self.report()
        while not state.finished:
            logger.info("Iteration %d of %d", state.iteration + 1, state.num_iterations)
            self.context.iteration_dir.mkdir(exist_ok=True)
            remove_unfinished(self.context.iteration_dir)
            for name, stage in self.stages().items():
                self.run_stage(name, stage)
            self.finish_iteration()
        return self.publish_final()

    def run_stage(self, name: str, stage: Callable[[], None]) -> None:
        """Run a stage unless its output is there: an output has its name only when it is whole."""
        state = self.context.state
        if name in state.stage_done:
            return
        if not (self.context.iteration_dir / OUTPUTS[name]).exists():
            logger.info("Iteration %d: %s", state.iteration + 1, name)
            stage()
        state.stage_done.append(name)
        self.save()

    def save(self) -> None:
        self.context.state.save(self.folder)

    def finish_iteration(self) -> None:
        """Make the result the next policy, in one write of the state; then report."""
        context, state = self.context, self.context.state
        folder = context.iteration_dir
        metrics = read_metrics(folder / METRICS)
        policy, trained = f"{folder.name}/policy", f"{folder.name}/trained"
        win_rate = metrics["win_rate_vs_first"]
        if win_rate is not None and win_rate > state.best.metric:
            state.best = Best(state.iteration + 1, context.rule.evaluated(policy, trained), win_rate)
        state.replay.insert(0, Replayable(state.iteration, f"{folder.name}/{OUTPUTS['pairs']}", metrics["pairs/kept"]))
        state.history.append(metrics)
        state.previous_trained, state.trained, state.policy = state.trained, trained, policy
        state.iteration += 1
        state.stage_done = []
        self.save()
        logger.info("Iteration %d: %s", state.iteration, summary(metrics))
        self.report()

    def report(self) -> None:
        """Write the metrics and the picture of what is finished, and delete what is not needed any more."""
        context, state = self.context, self.context.state
        write_rows(self.folder / "metrics.jsonl", state.history)
        picture = evaluation_dir(context, state.iteration) / "metrics.png"
        draw(state, temporary_path(picture))
        publish(picture)
        if not context.config.keep_checkpoints:
            self.remove_old_models()

    def remove_old_models(self) -> None:
        """Delete the models that neither the next iteration nor the result needs."""
        state = self.context.state
        needed = {state.policy, state.reference, state.trained, state.previous_trained, state.best.path}
        kept = {(self.folder / name).resolve() for name in needed if is_own(name)}
        for iteration in range(state.iteration):
            for name in (OUTPUTS["advance"], OUTPUTS["train"]):  # the link before what it points to
                path = self.folder / f"iter_{iteration}" / name
                if path.resolve() not in kept:
                    remove(path)

    def publish_final(self) -> str:
        """Link the result as `final`."""
        final = self.context.model_path(self.context.rule.final(self.context.state))
        link(Path(final).resolve(), self.folder / "final")
        return final


def summary(metrics: dict[str, Any]) -> str:
    """The metrics of an iteration in a line."""
    names = ("score", "win_rate_vs_previous", "win_rate_vs_first", "kl_to_first", "length", "pairs/kept")
    shown = ((name, metrics.get(name)) for name in names)
    return ", ".join(f"{name} {value:.3g}" for name, value in shown if value is not None)
