"""An ensemble of reward models (arXiv 2310.02743): members that differ in their seed alone, trained one after another."""

import logging
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from accelerate import PartialState
from trl.data_utils import maybe_extract_prompt

from ..config import Run
from ..data import load_for_run
from ..data.bundled import resolve_model
from ..errors import InputError
from ..generation import LoadOptions
from ..judges.members import ENSEMBLE_FILE
from ..judges.reward_ensemble import RewardEnsembleJudge
from .assemble import assemble, stage_config
from .iterative.settings import FREE, plain, rows_digest
from .iterative.training import free_memory
from .run_state import RunState


logger = logging.getLogger(__name__)

# Preference pairs on whose responses the members' scale is measured.
CALIBRATION_PAIRS = 256


@dataclass
class EnsembleState(RunState):
    """What `ensemble.json` holds.

    Attributes:
        size: members asked for.
        members: {folder, seed} of those that are finished.
        normalization: (mean, standard deviation) of each member's scores; None until all are finished.
    """

    file_name: ClassVar[str] = ENSEMBLE_FILE

    size: int = 0
    members: list[dict[str, Any]] = field(default_factory=list)
    normalization: list[tuple[float, float]] | None = None


def train_ensemble(run: Run) -> EnsembleState:
    """Train, or go on with, `run.training.ensemble` reward models in `output_dir`/member_0, member_1, ...

    Member k has seed `seed` + k, which draws its score head, its LoRA weights, its dropout and the order of its data; the
    data are the same. A killed run goes on with the member it was at, from its newest checkpoint; more members may be
    asked for later. Of several processes the first one writes `ensemble.json`, which `best-of-n`, judges and the reward
    `ensemble` read.

    Raises `InputError` where the folder holds members of a run with other settings, or more of them.
    """
    folder, size = Path(run.training.output_dir), run.training.ensemble
    evaluates = run.training.eval_strategy != "no"
    dataset, eval_dataset, source = load_for_run(run.script, run.mixture, run.training.seed, evaluates)
    if not hasattr(dataset, "__len__"):
        raise InputError(f"{source}: every member trains on the same data set; set dataset_streaming to false.")
    state = open_state(folder, settings_of(run, dataset), size)
    trainer = None
    for index in range(len(state.members), size):
        if trainer is not None:
            del trainer
            free_memory()
        seed = run.training.seed + index
        logger.info("Training member %d of %d, seed %d", index, size, seed)
        member = folder / f"member_{index}"
        own = {
            "output_dir": str(member),
            "seed": seed,
            "data_seed": None if run.training.data_seed is None else run.training.data_seed + index,
            "eval_strategy": run.training.eval_strategy,
            "ensemble": None,
        }
        training = stage_config(run, type(run.training), own)
        trainer = assemble(
            run, run.method.load_trainer(), training, run.model.model_name_or_path, dataset, eval_dataset=eval_dataset
        )
        trainer.train(resume_from_checkpoint=any(member.glob("checkpoint-*")))
        trainer.save_model(str(member))
        trainer.save_state()
        state.members.append({"folder": member.name, "seed": seed})
        state.normalization = None
        trainer.accelerator.wait_for_everyone()
        if trainer.accelerator.is_main_process:
            state.save(folder)
    if PartialState().is_main_process:
        if state.normalization is None:
            state.normalization = calibrate(folder, state, dataset)
            state.save(folder)
        for finished, (mean, std) in zip(state.members, state.normalization, strict=True):
            logger.info("%s: scores %.3g ± %.3g on its training responses", folder / finished["folder"], mean, std)
    if trainer is not None:
        trainer.end()
    return state


def open_state(folder: Path, settings: dict[str, Any], size: int) -> EnsembleState:
    """The state of the ensemble in `folder`, new or as it was left."""
    state = EnsembleState.load(folder)
    if state is None:
        if any(folder.glob("member_*")):
            raise InputError(f"{folder} holds members, but no {ENSEMBLE_FILE}; give another `output_dir`.")
        state = EnsembleState(method="reward", config=settings)
    state.check_unchanged(settings, folder)
    if len(state.members) > size:
        raise InputError(
            f"{folder} holds {len(state.members)} members already, and `ensemble` is {size}; give another `output_dir` for a "
            "smaller ensemble."
        )
    state.size = size
    if PartialState().is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        state.save(folder)
    return state


def settings_of(run: Run, dataset: Any) -> dict[str, Any]:
    """What decides the result of a member beside its number, by name, as JSON values; the data by their content."""
    settings = {
        item.name: plain(getattr(config, item.name))
        for config in (run.training, run.model)
        for item in fields(config)
        if item.init and item.name not in FREE | {"ensemble"}
    }
    return {**settings, "pairs (content)": rows_digest(list(dataset))}


def calibrate(folder: Path, state: EnsembleState, dataset: Any) -> list[tuple[float, float]]:
    """Mean and standard deviation of each member's scores on the responses of the first pairs."""
    folders = [resolve_model(str(folder / member["folder"])) for member in state.members]
    judge = RewardEnsembleJudge(folders, options=LoadOptions())
    prompts, responses = [], []
    for row in map(maybe_extract_prompt, islice(dataset, CALIBRATION_PAIRS)):
        prompts += [row["prompt"]] * 2
        responses += [row["chosen"], row["rejected"]]
    scales = judge.calibrate(prompts, responses)
    judge.unload()
    return scales
