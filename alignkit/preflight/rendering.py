"""One example as the model will see it, and the lengths of many, through the trainer's own tokenisation."""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ..errors import InputError


# Rows that are tokenised to learn the lengths, spread evenly over the data set.
SAMPLE_ROWS = 500

_TOKENISED = ["prompt", "chosen", "rejected", "tools", "chat_template_kwargs"]


@dataclass(frozen=True)
class RenderedSequence:
    """One sequence after truncation, as runs of (text, whether its tokens are trained).

    Attributes:
        name: `"chosen"` or `"rejected"`.
        runs: decoded text with special tokens, cut where the loss mask changes.
        prompt_tokens, trained_tokens: how many tokens the mask leaves out, and trains.
        cut_tokens: how many tokens `max_length` removed.
    """

    name: str
    runs: tuple[tuple[str, bool], ...]
    prompt_tokens: int
    trained_tokens: int
    cut_tokens: int


@dataclass(frozen=True)
class Lengths:
    """Lengths in tokens of the sampled pairs, before truncation.

    Attributes:
        rows: pairs sampled; all of them where `complete`.
        longest, median: of prompt plus the longer response.
        too_long: pairs with a sequence above `max_length` (their end is cut).
        dropped: pairs that TRL drops: their prompt alone fills `max_length`, or, for a reward model, they exceed it.
        not_prefix: pairs whose tokenised prompt is not a prefix of prompt plus response.
        lost: the end of the prompt that the model never sees because of that, of the first such pair.
    """

    rows: int
    complete: bool
    longest: int
    median: int
    too_long: int
    dropped: int
    not_prefix: int
    lost: str


@dataclass(frozen=True)
class Rendering:
    """The first example of the data set with its loss mask, and the lengths of the sample."""

    sequences: tuple[RenderedSequence, ...]
    lengths: Lengths


def load_tokenizer(path: str, model: Any, training: Any):
    """The tokenizer that the trainer will load, with TRL's choice of padding token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        path, revision=model.model_revision, trust_remote_code=getattr(training, "trust_remote_code", False)
    )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def render(dataset, tokenizer, training: Any, trainer_class: type) -> Rendering:
    """Tokenise a sample with `trainer_class._prepare_dataset` and collate its first pair with TRL's collator.

    Raises:
        InputError: when the chat template is missing or refuses an example.
    """
    rows, complete = sample_rows(dataset)
    require_template(tokenizer, rows[0]["chosen"])
    tokenised = _tokenise(rows, tokenizer, trainer_class)
    first = _collate(tokenised[0], tokenizer, training)
    return Rendering(first, _lengths(rows, tokenised, tokenizer, training, complete))


def require_template(tokenizer, text: Any) -> None:
    """Raise `InputError` where `text` is a conversation and the tokenizer has no chat template."""
    if not tokenizer.chat_template and not isinstance(text, str):
        raise InputError(
            f"the rows are conversations, but the tokenizer {tokenizer.name_or_path} has no chat template; use an "
            "instruction-tuned model, set `tokenizer.chat_template` and save it, or give the rows as plain text."
        )


def refused(tokenizer, error: Exception) -> InputError:
    """The error for a chat template that raises one."""
    return InputError(f"the chat template of {tokenizer.name_or_path} refuses an example: {error}.")


def sample_rows(dataset) -> tuple[list[dict[str, Any]], bool]:
    """Rows spread evenly over the data set (the first of a streamed one), and whether they are all."""
    from datasets import Dataset

    if not isinstance(dataset, Dataset):
        return [_kept(row) for row in dataset.take(SAMPLE_ROWS)], False
    count = min(len(dataset), SAMPLE_ROWS)
    indices = [index * len(dataset) // count for index in range(count)]
    return [_kept(row) for row in dataset.select(indices).with_format(None)], count == len(dataset)


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _TOKENISED if row.get(name) is not None}


def _tokenise(rows: list[dict[str, Any]], tokenizer, trainer_class: type) -> list[dict[str, Any]]:
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled
    from jinja2 import TemplateError

    # `_prepare_dataset` reads nothing of the trainer but its tokenizer, so that no model is needed. Without
    # `max_length` it drops no row: what would be dropped is counted here.
    trainer = SimpleNamespace(_tokenizer=tokenizer)
    arguments = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        prepared = trainer_class._prepare_dataset(trainer, Dataset.from_list(rows), tokenizer, arguments, "sample")  # type: ignore[attr-defined]
    except TemplateError as error:
        raise refused(tokenizer, error) from None
    finally:
        if shown:
            enable_progress_bar()
    return [{"prompt_ids": [], **row} for row in prepared.select_columns(_token_columns(prepared))]


def _token_columns(prepared) -> list[str]:
    """The token columns that the trainer makes; a reward model reads whole sequences and has no `prompt_ids`."""
    return [name for name in ("prompt_ids", "chosen_ids", "rejected_ids") if name in prepared.column_names]


def _collate(example: dict[str, Any], tokenizer, training: Any) -> tuple[RenderedSequence, ...]:
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    cuts = _truncation_mode(training)
    collator = DataCollatorForPreference(
        pad_token_id=tokenizer.pad_token_id,
        max_length=training.max_length if cuts else None,
        truncation_mode=cuts or "keep_start",
        pad_to_multiple_of=None,
    )
    batch = collator([example])
    sequences = []
    for index, name in enumerate(("chosen", "rejected")):
        seen = batch["attention_mask"][index].bool()
        ids = batch["input_ids"][index][seen].tolist()
        mask = batch["completion_mask"][index][seen].tolist()
        whole = len(example["prompt_ids"]) + len(example[f"{name}_ids"])
        runs = tuple((tokenizer.decode(ids[start:end]), trained) for start, end, trained in _runs(mask))
        sequences.append(RenderedSequence(name, runs, mask.count(0), mask.count(1), whole - len(ids)))
    return tuple(sequences)


def _truncation_mode(training: Any) -> str | None:
    """How sequences above `max_length` are cut; None where such pairs are dropped instead (reward models)."""
    return getattr(training, "truncation_mode", None)


def _runs(mask: list[int]) -> list[tuple[int, int, bool]]:
    edges = [0] + [place for place in range(1, len(mask)) if mask[place] != mask[place - 1]] + [len(mask)]
    return [(start, end, bool(mask[start])) for start, end in itertools.pairwise(edges) if end > start]


def _lengths(rows, tokenised, tokenizer, training: Any, complete: bool) -> Lengths:
    lengths = sorted(
        len(item["prompt_ids"]) + max(len(item["chosen_ids"]), len(item["rejected_ids"])) for item in tokenised
    )
    limit, cuts = training.max_length, _truncation_mode(training)
    above = sum(length > limit for length in lengths) if limit is not None else 0
    dropped = 0 if cuts else above
    if cuts == "keep_start" and limit is not None:
        dropped = sum(len(item["prompt_ids"]) >= limit for item in tokenised)
    lost = [end for row, item in zip(rows, tokenised, strict=True) if (end := _lost_prompt(row, item, tokenizer))]
    return Lengths(
        rows=len(tokenised),
        complete=complete,
        longest=lengths[-1],
        median=lengths[len(lengths) // 2],
        too_long=above - dropped,
        dropped=dropped,
        not_prefix=len(lost),
        lost=lost[0] if lost else "",
    )


def _lost_prompt(row: dict[str, Any], tokenised: dict[str, Any], tokenizer) -> str:
    """The end of the tokenised prompt that is no prefix of the full sequence; empty where all of it is."""
    prompt = row.get("prompt")
    if prompt is None or not tokenised["prompt_ids"]:
        return ""
    if isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        options = {"tools": row.get("tools"), **row.get("chat_template_kwargs", {})}
        ids = tokenizer.apply_chat_template(
            prompt, tokenize=True, return_dict=True, add_generation_prompt=True, **options
        )["input_ids"]
    return tokenizer.decode(ids[len(tokenised["prompt_ids"]) :]) if len(ids) > len(tokenised["prompt_ids"]) else ""
