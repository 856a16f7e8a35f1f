"""What decides the result of a run: a resumed run must have the same."""

import hashlib
import json
from dataclasses import fields
from typing import Any

from ...config import Run
from ...data.bundled import resolve_model
from ...generation import fingerprint_source, resolve_source
from ...judges import Judge


# Where a run writes, how it logs and shares its result: of no effect on the weights.
FREE = {
    "dataset_num_proc",
    "disable_tqdm",
    "hub_always_push",
    "hub_model_id",
    "hub_private_repo",
    "hub_revision",
    "hub_strategy",
    "hub_token",
    "keep_checkpoints",
    "log_level",
    "log_level_replica",
    "logging_dir",
    "logging_first_step",
    "logging_steps",
    "logging_strategy",
    "output_dir",
    "project",
    "push_to_hub",
    "reference_cache_dir",
    "report_to",
    "resume_from_checkpoint",
    "run_name",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "trackio_space_id",
    "vllm_gpu_memory_utilization",
}


def run_settings(
    run: Run, judge: Judge, rows: list[dict[str, Any]], eval_rows: list[dict[str, Any]] | None
) -> dict[str, Any]:
    """Every setting that may change the result, by name, as JSON values; models, judge and prompts by their content."""
    settings: dict[str, Any] = {"method": run.method.key}
    for config in (run.training, run.model):
        for item in fields(config):
            if item.init and item.name not in FREE:
                settings[item.name] = plain(getattr(config, item.name))
    source = resolve_source(run.model.model_name_or_path, resolve=resolve_model)
    settings["model (content)"] = fingerprint_source(source)
    settings["judge (content)"] = judge.fingerprint
    settings["prompts (content)"] = rows_digest(rows)
    settings["evaluation prompts (content)"] = None if eval_rows is None else rows_digest(eval_rows)
    return settings


def plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value, default=str))


def rows_digest(rows: list[dict[str, Any]]) -> str:
    """16 hex digits of the content of a data set."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]
