"""The configuration of one of the two trainings inside a run."""

from pathlib import Path
from typing import Any

from ...config import Run
from ...errors import InputError
from ..assemble import stage_config
from ..two_stage.stages import own_fields


def stage_training(
    run: Run, stage: str, config_class: type, folder: Path, seed: int, reserved: dict[str, str], **own: Any
) -> Any:
    """What the run gives to both, then what stands under the stage's name, then folder, seed and `own`.

    `reserved` names the fields that only the run sets, {field: what to do instead}. Raises `InputError` naming a field
    that the trainer does not have, or a value it refuses.
    """
    path = f"{config_class.__module__}:{config_class.__name__}"
    given = own_fields(getattr(run.training, stage), path, config_class, stage, reserved)
    fixed = {"output_dir": str(folder / f"{stage}_training"), "seed": seed, **own}
    try:
        return stage_config(run, config_class, {"logging_first_step": True, **given, **fixed})
    except (ValueError, TypeError) as error:
        raise InputError(f"stage `{stage}`: {' '.join(str(error).split())}") from error
