"""A reward model (sequence classification with one output) as a judge."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError
from alignkit.generation import LoadOptions

from .base import PointwiseJudge
from .conversations import Prompt, Response, check_lengths
from .model_judge import LocalModel, count_not_finite
from .rendering import PLAIN_FORMATS, encode_exchange


logger = logging.getLogger(__name__)


class RewardModelJudge(PointwiseJudge):
    r"""Scores each response with a reward model; preferences are \( \sigma(s_i - s_j) \) (Bradley-Terry).

    Args:
        model: folder or Hub name of an `AutoModelForSequenceClassification` with one output, or of a PEFT adapter on a
            base (its head among the adapter's `modules_to_save`).
        options: how it is loaded: dtype, device, `load_in_4bit`, `base_model`, `chat_template`, `batch_size`.
        max_length: longest exchange in tokens; a longer one is NaN, kind "too_long". None: the model's own limit.
        plain_format: what becomes of a plain-text prompt: "chat" (a user and an assistant message) or "concatenate"
            (prompt + response + EOS, as `trl.RewardTrainer` trains on plain rows); None: "chat" where the tokenizer
            has a template.

    Raises `InputError` for a model that is not there, has no trained score head, or more than one output.
    """

    def __init__(
        self,
        model: str,
        options: LoadOptions | None = None,
        max_length: int | None = None,
        plain_format: str | None = None,
    ) -> None:
        super().__init__()
        if plain_format is not None and plain_format not in PLAIN_FORMATS:
            raise InputError(f"plain_format is {plain_format!r}: it must be one of {', '.join(PLAIN_FORMATS)}")
        self.local = LocalModel(model, options, max_length)
        self.plain_format = plain_format
        self._example_shown = False

    def identity(self) -> dict[str, Any]:
        return {"judge": "reward_model", **self.local.identity(), "plain_format": self.plain_format}

    def score_batch(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        from .classifier import load_classifier, sequence_logits

        check_lengths(prompts=prompts, responses=responses)
        scores = np.full(len(prompts), np.nan)
        if not len(prompts):
            return scores
        loaded = self.local.load(load_classifier)
        if loaded.model.config.num_labels != 1:
            raise InputError(
                f"reward model {self.local.source.name} has {loaded.model.config.num_labels} outputs; a reward model has "
                "one (num_labels=1)"
            )
        plain_format = self.plain_format or ("chat" if loaded.tokenizer.chat_template else "concatenate")
        encoded = [
            encode_exchange(loaded.tokenizer, prompt, response, plain_format)
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        self._show_example(loaded.tokenizer, encoded[0])
        fits = self.local.fitting(encoded, loaded.max_positions, self.stats)
        if fits:
            batch_size = self.local.options.batch_size
            logits = sequence_logits(loaded, [encoded[index] for index in fits], batch_size, "Scoring")
            self.stats.calls += len(fits)
            scores[fits] = count_not_finite(logits[:, 0], self.stats)
        return scores

    def unload(self) -> None:
        self.local.unload()

    def _show_example(self, tokenizer: Any, ids: list[int]) -> None:
        """Log the first exchange as the model reads it: a wrong template shows here."""
        if not self._example_shown:
            self._example_shown = True
            logger.info("first exchange, as the reward model reads it:\n%s", tokenizer.decode(ids))
