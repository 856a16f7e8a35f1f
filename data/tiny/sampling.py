"""Text from the tiny model: left-padded batched generation and the check of the boxed answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

MAX_NEW_TOKENS = 48
BOXED = re.compile(r"\\boxed\{(\d+)\}")


def boxed_answer(completion: str) -> str | None:
    """The integer in the last `\\boxed{}` of `completion`, or None."""
    found = BOXED.findall(completion)
    return found[-1] if found else None


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    *,
    sample: bool = False,
    batch_size: int = 256,
) -> list[str]:
    """One completion per question, greedy or at temperature 1 (from torch's global generator), eos removed."""
    import torch
    from tqdm.auto import tqdm

    completions: list[str] = []
    for start in tqdm(range(0, len(questions), batch_size), desc="generating", leave=False):
        chats = [[{"role": "user", "content": text}] for text in questions[start : start + batch_size]]
        heads = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        batch = tokenizer(heads, return_tensors="pt", padding=True, return_token_type_ids=False)
        with torch.no_grad():
            ids = model.generate(**batch, do_sample=sample, temperature=1.0, max_new_tokens=MAX_NEW_TOKENS)
        completions += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return completions


def accuracy(completions: Sequence[str], answers: Sequence[str]) -> float:
    """Share of completions whose last box holds exactly the gold answer."""
    hits = sum(boxed_answer(text) == gold for text, gold in zip(completions, answers, strict=True))
    return hits / len(answers)
