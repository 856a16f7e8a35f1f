"""A reward model that TRL loads itself: what can be known of it without loading it."""

import json
import re
from pathlib import Path

from alignkit.data.bundled import resolve_model
from alignkit.errors import InputError
from alignkit.generation import resolve_source
from alignkit.generation.sources import hub_file


HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def looks_like_model(name: str) -> bool:
    """Whether `name` is a folder here or has the form of a Hub name."""
    return Path(resolve_model(name)).expanduser().is_dir() or HUB_NAME.fullmatch(name) is not None


def check_reward_model(name: str) -> str:
    """What TRL is given for the reward model `name`: its folder or Hub name.

    TRL loads it with one output; weights without a trained head would score at random. Raises `InputError` for a model
    that is not there, an adapter, or one that is not a sequence classifier with one output.
    """
    source = resolve_source(name, resolve=resolve_model)
    if source.is_adapter:
        raise InputError(
            f"reward model {name} is an adapter, which TRL does not load as a reward; write judge:{name}, or merge it"
        )
    folder = Path(source.path)
    file = folder / "config.json" if folder.is_dir() else hub_file(source.path, "config.json")
    config = json.loads(file.read_text(encoding="utf-8")) if file is not None else {}
    architectures = config.get("architectures") or ["nothing"]
    if not any("ForSequenceClassification" in item or "RewardModel" in item for item in architectures):
        raise InputError(
            f"reward model {name} is a {', '.join(architectures)}: it has no trained score head and would score at "
            "random; give a ...ForSequenceClassification with one output"
        )
    outputs = len(config.get("id2label") or "ab")  # transformers leaves its default of two out of the file
    if outputs != 1:
        raise InputError(f"reward model {name} has {outputs} outputs; a reward model has one (num_labels=1)")
    return str(folder.resolve()) if folder.is_dir() else source.path
