"""The tokenizer, chat template and processor files of a checkpoint, copied without this machine's traces."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from .checkpoint import read_json


CHAT_TEMPLATE = "chat_template.jinja"
TOKENIZER_CONFIG = "tokenizer_config.json"

_PATTERNS = (
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "*.tiktoken",
    "*.model",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
# Written by transformers when a tokenizer was loaded from a folder; meaningless elsewhere.
_LOCAL_FIELDS = ("is_local", "local_files_only", "name_or_path", "_name_or_path", "cache_dir", "tokenizer_file")


def copy_tokenizer(places: Sequence[Path], target: Path) -> tuple[Path | None, list[str]]:
    """Copy the tokenizer from the first of `places` that has one to `target`.

    Returns:
        The folder it came from (`None` if no place has one), and warnings: no tokenizer, no chat template.
    """
    source = next((place for place in places if (place / TOKENIZER_CONFIG).is_file()), None)
    if source is None:
        return None, ["no tokenizer lies beside the weights; others will use the base model's."]
    for pattern in _PATTERNS:
        for path in source.glob(pattern):
            shutil.copyfile(path, target / path.name)

    config = read_json(source / TOKENIZER_CONFIG)
    cleaned = {name: value for name, value in config.items() if name not in _LOCAL_FIELDS}
    write_json(target / TOKENIZER_CONFIG, cleaned)

    more_templates = source / "additional_chat_templates"
    if more_templates.is_dir():
        shutil.copytree(more_templates, target / more_templates.name)
    inline = config.get("chat_template")
    if (source / CHAT_TEMPLATE).is_file():
        shutil.copyfile(source / CHAT_TEMPLATE, target / CHAT_TEMPLATE)
    elif isinstance(inline, str):
        (target / CHAT_TEMPLATE).write_text(inline, encoding="utf-8")
    elif not inline and not more_templates.is_dir():
        return source, ["the tokenizer has no chat template, so chat messages cannot be rendered with it."]
    return source, []


def write_json(path: Path, content: object) -> None:
    """Write `content` as indented JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
