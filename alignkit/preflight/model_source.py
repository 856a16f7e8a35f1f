"""Where the model of a run is, and whether it can be looked at from here."""

import os
from typing import Any

from ..data.bundled import resolve_model
from ..errors import InputError
from .report import PreflightReport


def find_model(run: Any, report: PreflightReport) -> str | None:
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
            is_adapter = os.path.isfile(os.path.join(path, "adapter_config.json"))
            what = "an adapter, not a model; merge it first or name its base" if is_adapter else "no model"
            report.errors.append(f"`model_name_or_path` is {name!r}: the folder holds {what} (no config.json).")
            return None
        return path
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name or os.path.exists(path):
        report.errors.append(f"`model_name_or_path` is {name!r}: there is no such folder.")
        return None
    return path if _is_reachable(run, path, report) else None


def _is_reachable(run: Any, path: str, report: PreflightReport) -> bool:
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


def one_line(error: Exception, limit: int = 200) -> str:
    """The message of an exception on one line, cut after `limit` characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else f"{text[:limit]}..."
