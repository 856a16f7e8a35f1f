"""`export_diffusion_lora`: from a run's LoRA in diffusers' format to a folder that can be published."""

import re
import shutil
from pathlib import Path
from typing import Any

from .base_model import find_base_model
from .checkpoint import read_json, tensor_shapes
from .diffusion_card import diffusion_card
from .export import ExportResult
from .folder import check_target, whole_folder
from .run_facts import EXPORT_FILE, RUN_FILE, as_run_facts
from .tokenizer_files import write_json


LORA_FILE = "pytorch_lora_weights.safetensors"


def is_diffusion_lora(folder: str | Path) -> bool:
    """Whether a folder holds a LoRA in diffusers' format, or checkpoints that do and no weights of another kind."""
    folder = Path(folder)
    return (folder / LORA_FILE).is_file() or (folder.is_dir() and bool(_checkpoints(folder)))


def export_diffusion_lora(
    folder: str | Path,
    out: str | Path,
    *,
    license_name: str | None = None,
    repo_id: str | None = None,
    force: bool = False,
) -> ExportResult:
    """Write a Hub-ready folder of a diffusion LoRA: the weights, the model card, the facts of the run.

    Args:
        folder: a run's output folder or a checkpoint of it; without final weights its newest checkpoint is taken.
        out: the folder to make; it appears whole or not at all.
        license_name: the Hub's name of the licence.
        repo_id: repository that the card's example names; the folder's name if not given.
        force: replace `out` if it is there.

    Raises:
        InputError: nothing to export, weights that are cut off, or a folder in the way.
    """
    folder = Path(folder)
    source, notes = folder, []
    if not (folder / LORA_FILE).is_file():
        source = _checkpoints(folder)[-1]
        notes.append(f"{folder} holds no final weights, so {source.name}, its newest checkpoint, was taken.")
    tensor_shapes(source / LORA_FILE)
    target = check_target(out, source, force)
    run = _first_json([source / RUN_FILE, source.parent / RUN_FILE])
    state = _first_json([source / "trainer_state.json"])
    facts = as_run_facts(run, state, None, license_name)
    base = find_base_model(
        given_name=None, given_revision=None, run_name=facts.model_name_or_path, run_revision=facts.model_revision
    )
    steps = int(state.get("global_step", 0))
    card = diffusion_card(
        run | ({"license": license_name} if license_name else {}),
        title=repo_id or target.name,
        pipeline_class="DiffusionPipeline",
        is_lora=True,
        steps=steps,
    )
    with whole_folder(target) as building:
        shutil.copyfile(source / LORA_FILE, building / LORA_FILE)
        (building / "README.md").write_text(card, encoding="utf-8")
        write_json(building / EXPORT_FILE, {"kind": "diffusion_lora", "steps": steps, "run": run})
    return ExportResult(
        path=target,
        kind="diffusion_lora",
        source=source,
        base_model=base.name,
        base_revision=base.revision,
        files=tuple(sorted((LORA_FILE, "README.md", EXPORT_FILE))),
        notes=tuple(notes),
        warnings=(),
    )


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run that hold a LoRA, the newest last."""
    found = [child for child in folder.glob("checkpoint-*") if (child / LORA_FILE).is_file()]
    return sorted(found, key=lambda child: int(re.sub(r"\D", "", child.name) or 0))


def _first_json(paths: list[Path]) -> dict[str, Any]:
    return next((read_json(path) for path in paths if path.is_file()), {})
