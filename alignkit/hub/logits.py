"""Comparing two models by their logits on a few fixed prompts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    import torch


# Numbers, code, another script and a long line: tokens of several kinds, also for a small vocabulary.
_SENTENCES = (
    "What is 17 + 25?",
    "Write one sentence about the sea.",
    "def area(radius): return 3.14159 * radius ** 2",
    "Réponds en français : où est la bibliothèque ?",
    "List the first ten prime numbers, then explain why 1 is not one of them and why 2 is the only even one.",
)


@dataclass(frozen=True)
class LogitDifference:
    """Where two models differ most.

    Attributes:
        largest: the largest absolute difference of two logits.
        scale: the largest absolute logit of the first model, to judge it by.
        prompt: number of the prompt, from 1.
        position: token position in it, from 0.
        entry: vocabulary entry (or class), from 0.
    """

    largest: float
    scale: float
    prompt: int
    position: int
    entry: int

    @property
    def relative(self) -> float:
        """`largest` over `scale` (over 1 where all logits are smaller)."""
        return self.largest / max(self.scale, 1.0)

    def __str__(self) -> str:
        if self.largest == 0.0:
            return f"0 (logits up to {self.scale:.3g})"
        return (
            f"{self.largest:.2e} (logits up to {self.scale:.3g}) at prompt {self.prompt}, position {self.position}, "
            f"entry {self.entry}"
        )


def probe_inputs(tokenizer: Any | None, vocabulary: int) -> list["torch.Tensor"]:
    """Return token ids [1, T] of the fixed prompts, through the chat template where there is one.

    Without a tokenizer, fixed ids spread over the vocabulary.
    """
    import torch
    from jinja2 import TemplateError

    if tokenizer is None:
        return [torch.arange(start, start + 24)[None] * 7919 % vocabulary for start in (0, 24, 48)]
    texts = list(_SENTENCES)
    if getattr(tokenizer, "chat_template", None):
        try:
            texts = [
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
                )
                for text in texts
            ]
        except TemplateError:  # a template that wants other roles or fields: the plain sentences do as well
            texts = list(_SENTENCES)
    encoded = [tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"] for text in texts]
    return [ids for ids in encoded if ids.shape[1] > 0]


def logits_of(model: Any, inputs: list["torch.Tensor"], as_in_training: bool = False) -> list["torch.Tensor"]:
    """Return float32 logits [T, V] (or [1, classes]) of each input, one by one, so that no padding enters.

    Args:
        as_in_training: take the kernels that training takes. Without gradients, bitsandbytes computes 4-bit layers on
            some CPUs in bfloat16, which differs by more than any merge should. Dropout is off either way.
    """
    import torch

    model.eval()
    if as_in_training:
        model.enable_input_require_grads()
    with torch.set_grad_enabled(as_in_training):
        outputs = [model(input_ids=ids.to(model.device)).logits.detach().float().cpu() for ids in inputs]
    return [logits.reshape(-1, logits.shape[-1]) for logits in outputs]


def compare_logits(first: list["torch.Tensor"], second: list["torch.Tensor"]) -> LogitDifference:
    """Return where `second` differs most from `first`; NaN counts as an infinite difference.

    Raises:
        ValueError: the two have different shapes.
    """
    worst = LogitDifference(0.0, max(float(logits.abs().max()) for logits in first), 1, 0, 0)
    for number, (a, b) in enumerate(zip(first, second, strict=True), start=1):
        if a.shape != b.shape:
            raise ValueError(f"logits of prompt {number} have shapes {tuple(a.shape)} and {tuple(b.shape)}")
        difference = (a - b).abs().nan_to_num(nan=float("inf"))
        largest, index = difference.flatten().max(dim=0)
        if float(largest) > worst.largest:
            position, entry = divmod(int(index), a.shape[-1])
            worst = LogitDifference(float(largest), worst.scale, number, position, entry)
    return worst
