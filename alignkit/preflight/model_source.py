"""Where the model of a run is, and whether it can be looked at from here."""

import json
import os
from dataclasses import replace
from typing import Any

from ..data.bundled import resolve_model
from ..errors import InputError
from .census import ModelCensus, count_model
from .report import Report


def find_model(run: Any, report: Report) -> str | None:
    """Return the folder or Hub name of the model, or None after an error or a skip noted in `report`.

    A name that can only be a local path and is not there is an error; a Hub name that cannot be reached is a skip of
    the parts that need the model.
    """
    name = run.model.model_name_or_path
    if not name:
        report.errors.append("no model is named; set `model_name_or_path` (e.g. bundled/tiny-math).")
        return None
    if (run.model.load_in_4bit or run.model.load_in_8bit) and not run.model.use_peft:
        report.errors.append(
            "a quantised model cannot be trained in full; set `use_peft` to true beside `load_in_*bit`."
        )
    try:
        path = resolve_model(name)
    except InputError as error:
        report.errors.append(str(error))
        return None
    if os.path.isdir(path):
        if not os.path.isfile(os.path.join(path, "config.json")):
            report.errors.append(f"`model_name_or_path` is {name!r}: the folder holds no model (no config.json).")
            return None
        return path
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or os.path.exists(path):
        report.errors.append(f"`model_name_or_path` is {name!r}: there is no such folder.")
        return None
    return path if _is_reachable(run, path, report) else None


def count_or_note(run: Any, path: str, report: Report) -> ModelCensus | None:
    """Count the model at `path`; None after an adapter that does not fit it, or an unusual architecture, is noted."""
    try:
        return count_model(path, run.model, run.training)
    except (ValueError, AttributeError, TypeError) as error:
        name = run.model.model_name_or_path
        if run.model.use_peft and "target" in str(error).lower():
            report.errors.append(f"`lora_target_modules` does not fit {name}: {one_line(error)}")
        else:
            report.skipped["Memory"] = f"{name} cannot be counted ({one_line(error)})"
        return None


def on_its_base(run: Any, report: Report) -> Any:
    """The run as memory sees it, where it goes on training an adapter: the adapter's base, rank and target modules.

    Any other run is returned unchanged. An adapter that names no base is noted as an error.
    """
    folder = run.model.model_name_or_path
    path = os.path.join(folder, "adapter_config.json") if folder else ""
    if not os.path.isfile(path):
        return run
    try:
        with open(path, encoding="utf-8") as file:
            adapter = json.load(file)
    except ValueError as error:
        report.errors.append(f"{path}: not valid JSON ({error}).")
        return run
    base = adapter.get("base_model_name_or_path")
    if not base:
        report.errors.append(f"{path}: `base_model_name_or_path` is missing; name the model the adapter belongs to.")
        return run
    model = replace(
        run.model,
        model_name_or_path=base,
        use_peft=True,
        lora_r=adapter.get("r", run.model.lora_r),
        lora_target_modules=adapter.get("target_modules", run.model.lora_target_modules),
        lora_modules_to_save=adapter.get("modules_to_save"),
    )
    return replace(run, model=model)


def _is_reachable(run: Any, path: str, report: Report) -> bool:
    """Ask the Hub (or its local cache) once: each part would wait for the same time-out."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(path, revision=run.model.model_revision)
    except OSError as error:
        report.skipped["Rendered example and memory"] = unreachable(run, error)
        return False
    except ValueError:  # a model with code of its own; the parts load it as configured
        return True
    return True


def unreachable(run: Any, error: Exception) -> str:
    """Why a part that needs the model is skipped."""
    return f"{run.model.model_name_or_path} is neither a local folder nor reachable on the Hub ({one_line(error)})"


def one_sentence(error: InputError) -> str:
    """The sentence of an error on one line, whole."""
    return " ".join(str(error).split())


def one_line(error: Exception, limit: int = 200) -> str:
    """The message of an exception on one line, cut after `limit` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[:limit]}..."
