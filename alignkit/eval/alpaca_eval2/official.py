"""`--engine official`: the alpaca-eval package judges and scores, in a process of its own.

Its cache, weights and files go into `official_engine/<run>/` of our output folder. Its annotations become our records,
so that our figures and its own are of the same verdicts and stand side by side in the report.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.judges import Completion, EndpointOptions

from ..records import write_atomically
from .package_files import ANNOTATOR, annotator_config, package_folder
from .side_data import GAMED, find_file


METRICS_FILE = "metrics.json"


def run_package(
    outputs: Sequence[Mapping[str, Any]],
    references: Sequence[Mapping[str, Any]],
    options: EndpointOptions,
    gamed: str | None,
    folder: Path,
) -> dict[str, Completion]:
    """Let the package annotate and score `outputs` against `references` (rows of its formats).

    Returns its raw replies by instruction, and leaves its figures in `folder/metrics.json`. Raises `InputError` with the
    end of its log where it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model_outputs.json", json.dumps(list(outputs), indent=2) + "\n")
    write_atomically(folder / "reference_outputs.json", json.dumps(list(references), indent=2) + "\n")
    place = find_file(GAMED, gamed, [], {})
    settings = {
        "name": outputs[0]["generator"],
        "model_outputs": "model_outputs.json",
        "reference_outputs": "reference_outputs.json",
        "annotators_config": str(write_annotator(options, folder).resolve()),
        "output_path": str(folder.resolve()),
        "caching_path": str((folder / "cache.json").resolve()),
        "weights_dir": str((folder / "weights").resolve()),
        "gamed": None if place is None else str(place.resolve()),
        "metrics": METRICS_FILE,
    }
    write_atomically(folder / "settings.json", json.dumps(settings, indent=2) + "\n")
    worker = Path(__file__).with_name("official_worker.py")
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        code = subprocess.call(
            [sys.executable, str(worker), "settings.json"],
            cwd=folder,
            env=environment(options),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    if code:
        raise InputError(
            f"alpaca-eval ended with code {code} (all of its log: {folder / 'log.txt'}): {log_end(folder)}"
        )
    return {own["instruction"]: as_completion(own, options) for own in read_annotations(folder)}


def write_annotator(options: EndpointOptions, folder: Path) -> Path:
    """The official annotator's configuration with our judge's model and settings."""
    import yaml

    config = json.loads(json.dumps(annotator_config()))
    config["prompt_template"] = str(package_folder() / "evaluators_configs" / config["prompt_template"])
    config["completions_kwargs"] |= {
        "model_name": options.model,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_logprobs": options.top_logprobs,
        "requires_chatml": True,
        "num_procs": options.max_concurrency,
    }
    path = folder / "annotator" / "configs.yaml"
    write_atomically(path, yaml.safe_dump({ANNOTATOR: config}))
    return path


def environment(options: EndpointOptions) -> dict[str, str]:
    """The worker's environment: address and key as the package wants them; no key is written anywhere."""
    return {
        "USER": "alignkit",
        **os.environ,
        "OPENAI_API_KEY": options.key() or "none",
        "OPENAI_API_BASE": options.base_url,
        "OPENAI_CLIENT_CONFIG_PATH": os.devnull,
        "IS_ALPACA_EVAL_2": "True",
    }


def read_annotations(folder: Path) -> list[dict[str, Any]]:
    paths = [*folder.rglob("annotations.json")]
    if not paths:
        raise InputError(f"alpaca-eval wrote no annotations.json into {folder}: {log_end(folder)}")
    return json.loads(paths[0].read_text(encoding="utf-8"))


def as_completion(annotation: Mapping[str, Any], options: EndpointOptions) -> Completion:
    """The judge's reply behind an annotation."""
    raw = annotation.get("preference_raw_completion") or {}
    message = raw.get("message") or {}
    listed = (raw.get("logprobs") or {}).get("content") or []
    tops = [{top["token"]: top["logprob"] for top in token["top_logprobs"]} for token in listed]
    total = raw.get("total_tokens") or 0
    written = 0 if math.isnan(total) else int(total)
    return Completion(
        text=message.get("content") or "",
        finish_reason=raw.get("finish_reason"),
        prompt_tokens=max(written - len(listed), 0),
        completion_tokens=len(listed),
        cost=options.cost(max(written - len(listed), 0), len(listed)),
        top_logprobs=tops or None,
    )


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """The package's own figures of a run; None where it was not run."""
    path = folder / METRICS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def log_end(folder: Path) -> str:
    """The last line of the package's log."""
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "its log is empty"
