"""Files of the installed `alpaca-eval` package, read without importing it (its import fails beside setuptools >= 82,
configures the root logger and switches scikit-learn's metadata routing for the whole process)."""

import csv
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alignkit.errors import InputError


ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"
LEADERBOARD = f"leaderboards/data_AlpacaEval_2/{ANNOTATOR}_leaderboard.csv"


def package_folder() -> Path:
    """The installed package's folder. Raises `InputError` where it is not installed."""
    spec = find_spec("alpaca_eval")
    if spec is None or spec.origin is None:
        raise InputError(
            "the package alpaca-eval is not installed; AlpacaEval 2's judge prompt is read from its files: "
            'pip install "alpaca-eval>=0.6.6"'
        )
    return Path(spec.origin).parent


def package_version() -> str | None:
    try:
        return version("alpaca-eval")
    except PackageNotFoundError:
        return None


def read_text(name: str) -> str:
    """One file of the package, by its path inside it."""
    path = package_folder() / name
    if not path.is_file():
        raise InputError(f"alpaca-eval {package_version()} holds no {name}: install a version from 0.6.6 on")
    return path.read_text(encoding="utf-8")


@lru_cache
def annotator_config(name: str = ANNOTATOR) -> dict[str, Any]:
    """The configuration of one annotator (judge)."""
    import yaml

    return yaml.safe_load(read_text(f"evaluators_configs/{name}/configs.yaml"))[name]


@lru_cache
def judge_template(name: str = ANNOTATOR) -> list[tuple[str, str]]:
    """The judge's prompt as (role, template) pairs, from its ChatML-like text; fields `{instruction}`, `{output_1}`,
    `{output_2}`."""
    text = read_text(f"evaluators_configs/{annotator_config(name)['prompt_template']}")
    messages = []
    for part in text.split("<|im_start|>")[1:]:
        role, _, content = part.partition("\n")
        messages.append((role.strip(), content.split("<|im_end|>", 1)[0].strip()))
    return messages


def leaderboard_rows() -> list[dict[str, str]]:
    """The official AlpacaEval 2 leaderboard; the column "" holds the model's name."""
    return list(csv.DictReader(read_text(LEADERBOARD).splitlines()))
