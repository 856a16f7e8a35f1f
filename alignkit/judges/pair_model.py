"""A model that reads a prompt with two answers and says how likely the first is the better one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError
from alignkit.generation import LoadOptions

from .conversations import Prompt, Response, as_text, check_lengths
from .model_judge import LocalModel, count_not_finite
from .rendering import render_chat
from .templates import check_template, fill
from .two_orders import TwoOrderJudge


DEFAULT_TEMPLATE = "{prompt}\n\nResponse A:\n{first}\n\nResponse B:\n{second}"
ARCHITECTURES = ("sequence_classification", "causal_lm")


class PairModelJudge(TwoOrderJudge):
    r"""A pairwise model with logit \( s(i, j) \): \( P(i \succ j) = \frac12(\sigma(s(i,j)) + 1 - \sigma(s(j,i))) \).

    Args:
        model: folder or Hub name of the model, or of a PEFT adapter on a base.
        template: the text that the model reads, with the fields `{prompt}`, `{first}` and `{second}`. It must be the
            one that the model was trained with.
        architecture: "sequence_classification" (one output: the logit that the first wins; two outputs: the logits of
            first and second, PairRM's kind) or "causal_lm" (the difference of the next-token logits of `labels`).
        labels: the tokens by which a causal model names the first and the second answer.
        chat: put the text into the tokenizer's chat template as one user message (with the generation prompt).
        both_orders, options, max_length: see `TwoOrderJudge` and `RewardModelJudge`.

    Raises `InputError` for a template without its fields, another number of outputs, or labels that are not one token.
    """

    def __init__(
        self,
        model: str,
        template: str = DEFAULT_TEMPLATE,
        architecture: str = "sequence_classification",
        labels: tuple[str, str] = ("A", "B"),
        chat: bool = False,
        options: LoadOptions | None = None,
        max_length: int | None = None,
        both_orders: bool = True,
    ) -> None:
        super().__init__(both_orders)
        if architecture not in ARCHITECTURES:
            raise InputError(f"architecture is {architecture!r}: it must be one of {', '.join(ARCHITECTURES)}")
        check_template(template)
        self.local = LocalModel(model, options, max_length)
        self.template = template
        self.architecture = architecture
        self.labels = tuple(labels)
        self.chat = chat

    def identity(self) -> dict[str, Any]:
        return {
            "judge": "pair_model",
            **self.local.identity(),
            "template": self.template,
            "architecture": self.architecture,
            "labels": list(self.labels),
            "chat": self.chat,
            "both_orders": self.both_orders,
        }

    def first_wins(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        check_lengths(prompts=prompts, first=first, second=second)
        values = np.full(len(prompts), np.nan)
        loaded = self.local.load(load_causal if self.architecture == "causal_lm" else load_pair_classifier)
        encoded = [self._encode(loaded.tokenizer, *texts) for texts in zip(prompts, first, second, strict=True)]
        fits = self.local.fitting(encoded, loaded.max_positions, self.stats)
        if fits:
            logits = self._logits(loaded, [encoded[index] for index in fits])
            self.stats.calls += len(fits)
            # Clipped: sigma is 0 or 1 in float64 long before.
            values[fits] = 1 / (1 + np.exp(-np.clip(count_not_finite(logits, self.stats), -700, 700)))
        return values

    def unload(self) -> None:
        self.local.unload()

    def _encode(self, tokenizer: Any, prompt: Prompt, first: Response, second: Response) -> list[int]:
        text = fill(self.template, prompt=as_text(prompt), first=as_text(first), second=as_text(second))
        if self.chat:
            text = render_chat(tokenizer, [{"role": "user", "content": text}], add_generation_prompt=True)
        return tokenizer(text, add_special_tokens=not self.chat)["input_ids"]

    def _logits(self, loaded: Any, sequences: list[list[int]]) -> np.ndarray:
        """Logit [M] that the first answer wins."""
        from .classifier import sequence_logits

        batch_size = self.local.options.batch_size
        if self.architecture == "causal_lm":
            pair = [single_token(loaded.tokenizer, label) for label in self.labels]
            logits = sequence_logits(loaded, sequences, batch_size, "Comparing", last_token_logits(pair))
        else:
            logits = sequence_logits(loaded, sequences, batch_size, "Comparing")
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 0] - logits[:, 1]


def load_pair_classifier(source: Any, options: LoadOptions) -> Any:
    """Load a pairwise classifier; it has one or two outputs."""
    from .classifier import load_classifier

    loaded = load_classifier(source, options)
    outputs = loaded.model.config.num_labels
    if outputs not in (1, 2):
        raise InputError(f"pairwise model {source.name} has {outputs} outputs; it must have 1 or 2")
    return loaded


def load_causal(source: Any, options: LoadOptions) -> Any:
    """Load a causal language model that names the better answer with its next token."""
    from alignkit.generation import load_tokenizer
    from alignkit.generation.transformers_backend import load_model

    from .classifier import LoadedModel

    tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
    model = load_model(source, options, vocabulary_size=len(tokenizer))
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return LoadedModel(model, tokenizer, limit)


def last_token_logits(token_ids: list[int]) -> Any:
    """A reduction of logits [B, T, V] to those of `token_ids` as the token after each sequence, [B, C]."""

    def reduce(logits: Any, mask: Any) -> Any:
        import torch

        last = mask.sum(dim=1) - 1
        return logits[torch.arange(len(mask), device=logits.device), last][:, token_ids]

    return reduce


def single_token(tokenizer: Any, label: str) -> int:
    """The id of a label that is one token."""
    ids = tokenizer(label, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise InputError(f"label {label!r} is {len(ids)} tokens for {tokenizer.name_or_path}; it must be exactly one")
    return ids[0]
