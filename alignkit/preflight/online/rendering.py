"""One prompt as the model will see it, and the lengths of many, through the trainer's own tokenisation."""

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ..rendering import refused, require_template, sample_rows


@dataclass(frozen=True)
class RenderedPrompts:
    """The first prompt of the data set, and the lengths of the sample.

    Attributes:
        text: decoded with special tokens, up to where generation begins.
        tokens: how many they are.
        ends: what ends a completion.
        rows: prompts sampled; all of them where `complete`.
        median, longest: tokens of the sampled prompts.
        room: tokens that the model, or the vLLM engine, has for prompt and completion; None where it has no bound.
        too_long: sampled prompts that do not leave `max_completion_length` tokens of that room.
        closed: sampled prompts whose last token already ends the text.
    """

    text: str
    tokens: int
    ends: tuple[str, ...]
    rows: int
    complete: bool
    median: int
    longest: int
    room: int | None
    too_long: int
    closed: int


def render_prompts(dataset, tokenizer, training: Any, trainer_class: type, room: int | None) -> RenderedPrompts:
    """Tokenise a sample of prompts with `trainer_class._tokenize_prompts`.

    Raises `InputError` when the chat template is missing or refuses a prompt.
    """
    rows, complete = sample_rows(dataset)
    prompts = [row["prompt"] for row in rows]
    require_template(tokenizer, prompts[0])
    tokenised = tokenise(prompts, tokenizer, training, trainer_class)
    lengths = sorted(len(ids) for ids in tokenised)
    ends = {tokenizer.eos_token_id}
    return RenderedPrompts(
        text=tokenizer.decode(tokenised[0]),
        tokens=len(tokenised[0]),
        ends=tuple(tokenizer.decode([token]) for token in ends if token is not None),
        rows=len(lengths),
        complete=complete,
        median=lengths[len(lengths) // 2],
        longest=lengths[-1],
        room=room,
        too_long=0 if room is None else sum(length + training.max_completion_length > room for length in lengths),
        closed=sum(bool(ids) and ids[-1] in ends for ids in tokenised),
    )


def tokenise(prompts: list, tokenizer, training: Any, trainer_class: type) -> list[list[int]]:
    """Token ids of the prompts, as the trainer will generate under them."""
    from jinja2 import TemplateError

    given = training.chat_template_kwargs or {}
    # What `_tokenize_prompts` reads of the trainer: no model is needed.
    trainer = SimpleNamespace(
        processing_class=tokenizer,
        chat_template=None,
        chat_template_kwargs=json.loads(given) if isinstance(given, str) else given,
        tools=[],
        environment_factories=None,
        _is_vlm=False,
    )
    try:
        return trainer_class._tokenize_prompts(trainer, prompts)[0]  # type: ignore[attr-defined]
    except TemplateError as error:
        raise refused(tokenizer, error) from None


def room_of(path: str, model: Any, training: Any) -> int | None:
    """Tokens that prompt and completion may have together: the model's positions, or vLLM's own bound."""
    from transformers import AutoConfig

    trust = getattr(training, "trust_remote_code", False)
    config = AutoConfig.from_pretrained(path, revision=model.model_revision, trust_remote_code=trust)
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    window = training.vllm_max_model_length if training.use_vllm else None
    bounds = [bound for bound in (positions, window) if bound is not None]
    return min(bounds) if bounds else None
