"""The front from a configuration: the base measured, then one policy per weight trained and measured, each once."""

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ...config import Run
from ...data import load, load_for_run
from ...errors import InputError
from ...judges import Judge
from ...judges.estimate import Work, estimate, mean_tokens
from ..assemble import assemble, stage_config
from ..iterative.files import publish, remove, remove_unfinished, temporary_path
from ..iterative.judging import build_judge
from ..iterative.prepare import REPLIES, check_model
from ..iterative.settings import plain, rows_digest, run_settings
from ..iterative.stages.prompts import prompt_rows
from ..iterative.stages.record import read_metrics
from ..iterative.stages.train import drop_reference_adapter
from ..iterative.training import free_memory
from ..run_state import RunState
from .endpoint import OtherObjectiveTrainer
from .front import BASE, require_moocore, summarise, write_front
from .measuring import measure


logger = logging.getLogger(__name__)

# What a later call may change: more points of the same front, and the point its volume is measured from.
OPEN = ("front_weights", "weights", "reference_point")


class FrontRunner:
    """Trains and measures, or goes on with, the points of one front in the `output_dir` of a configuration.

    Args:
        run: the configuration, of `load_run(front_method(key), ...)`.
        judges: one per objective, by name; default: those that the configuration names.

    Raises `InputError` before anything is trained for a bad configuration, data set, model or judge, and where the
    folder holds a front with other settings. More weights may be asked for later: a finished point is kept as it is.
    """

    def __init__(self, run: Run, judges: dict[str, Judge] | None = None) -> None:
        require_moocore()
        self.run_config, self.folder = run, Path(run.training.output_dir)
        check_model(run)
        self.dataset, _, source = load_for_run(run.script, run.mixture, run.training.seed)
        self.eval_rows = load_eval_rows(run)
        self.judges = judges or build_judges(run, self.eval_rows, str(self.folder / REPLIES))
        for name, judge in self.judges.items():
            if not judge.has_scores:
                raise InputError(f"`eval_judges`: that of {name!r} compares two responses and gives no scores.")
        settings = self.settings(source)
        state = RunState.load(self.folder)
        if state is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            RunState(method=run.method.key, config=settings).save(self.folder)
        else:
            state.check_unchanged(settings, self.folder)

    def settings(self, source: str) -> dict[str, Any]:
        """What decides the result of a point, by name."""
        from datasets import Dataset

        if not isinstance(self.dataset, Dataset):
            raise InputError(f"{source}: every point trains on the same data set; set dataset_streaming to false.")
        first = next(iter(self.judges.values()))
        settings = run_settings(self.run_config, first, list(self.dataset), None)
        settings = {name: value for name, value in settings.items() if name not in OPEN}
        settings["judge (content)"] = plain({name: judge.fingerprint for name, judge in self.judges.items()})
        settings["evaluation prompts (content)"] = rows_digest(self.eval_rows)
        return settings

    def run(self) -> dict[str, Any]:
        """Train and measure what is left; return the front, also written as JSON, CSV and PNG."""
        folders = [self.folder / BASE, *map(self.point_folder, self.run_config.training.front_weights)]
        left = sum(not (folder / "scores.json").exists() for folder in folders)
        for line in measuring_costs(self.run_config, self.eval_rows, self.judges, left):
            logger.info("cost: %s", line)
        self.measure(self.folder / BASE, self.run_config.model.model_name_or_path)
        for weight in self.run_config.training.front_weights:
            folder = self.point_folder(weight)
            folder.mkdir(exist_ok=True)
            remove_unfinished(folder)
            self.train(folder, weight)
            self.measure(folder, str(folder / "trained"))
        front = summarise(self.run_config.training.names, self.points(), self.run_config.training.reference_point)
        write_front(self.folder, front)
        return front

    def point_folder(self, weight: float) -> Path:
        return self.folder / f"w_{weight:g}"

    def train(self, folder: Path, weight: float) -> None:
        """Write `trained/`, unless it is there: the model of the weights (w, 1 - w), always from the base."""
        if (folder / "trained").exists():
            return
        logger.info("Training the point w = %g", weight)
        run, output_dir = self.run_config, folder / "training"
        output_dir.mkdir(exist_ok=True)
        # MODPO's config refuses a weight of 0, which has a trainer of its own.
        weights = [weight, 1 - weight]
        own = {"weights": weights if weight else [1.0, 0.0], "output_dir": str(output_dir), "logging_first_step": True}
        config = stage_config(run, self.trainer_config(), own)
        config.weights = weights
        trainer_class = run.method.load_trainer() if weight else OtherObjectiveTrainer
        trainer = assemble(run, trainer_class, config, run.model.model_name_or_path, self.dataset)
        trainer.train(resume_from_checkpoint=any(output_dir.glob("checkpoint-*")))
        drop_reference_adapter(trainer)
        target = temporary_path(folder / "trained")
        shutil.rmtree(target, ignore_errors=True)
        trainer.save_model(str(target))
        trainer.end()
        del trainer
        free_memory()
        publish(folder / "trained")
        remove(output_dir)

    def trainer_config(self) -> type:
        """The configuration class of the method itself, without the fields of the front."""
        from ...catalog import get

        return get(self.run_config.method.key).load_config()

    def measure(self, folder: Path, model: str) -> None:
        """Write `scores.json`, unless it is there."""
        if not (folder / "scores.json").exists():
            folder.mkdir(exist_ok=True)
            measure(self.run_config, model, self.eval_rows, self.judges, folder)

    def points(self) -> list[dict[str, Any]]:
        """The base model and every finished point of the folder, also of earlier calls, by weight."""
        points = [{"name": BASE, "weights": [None, None], "path": self.run_config.model.model_name_or_path}]
        folders = [path.parent for path in self.folder.glob("w_*/scores.json")]
        for folder in sorted(folders, key=lambda path: float(path.name[2:])):
            weight = float(folder.name[2:])
            points.append({"name": folder.name, "weights": [weight, 1 - weight], "path": f"{folder.name}/trained"})
        return [
            {**point, "scores": scores_of(self.folder / str(point["name"]), list(self.judges))} for point in points
        ]


def scores_of(folder: Path, names: list[str]) -> dict[str, Any]:
    scores = read_metrics(folder / "scores.json")
    return {name: scores[name] for name in names}


def load_eval_rows(run: Run) -> list[dict[str, Any]]:
    """The prompts on which the points are measured."""
    name = run.training.eval_dataset_name
    splits = load(name)
    split = splits["test" if "test" in splits else next(iter(splits))]
    return prompt_rows(split, name, run.training.num_eval_prompts)


def measuring_costs(run: Run, rows: list[dict[str, Any]], judges: dict[str, Judge], points: int) -> list[str]:
    """What measuring so many points may cost: one sentence for each endpoint that a judge asks."""
    tokens = run.training.max_completion_length
    work = Work(points * len(rows), 1, mean_tokens(row["prompt"] for row in rows), tokens)
    return [f"{name}: {line}" for name, judge in judges.items() for line in estimate(judge, [work])]


def build_judges(run: Run, rows: list[dict[str, Any]], cache: str | None = None) -> dict[str, Judge]:
    """The judge of each objective, by the objective's name; `cache` keeps the replies that have to be paid for."""
    config = run.training
    judges = {}
    for name, spec in zip(config.names, config.eval_judges, strict=True):
        own: Any = SimpleNamespace(judge=spec, answer_column=config.answer_column)
        judges[name] = build_judge(own, rows, cache)
    return judges
