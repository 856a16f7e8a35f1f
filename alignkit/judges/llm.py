"""A language model behind an OpenAI-compatible endpoint as a judge, pairwise or with scores."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.errors import InputError

from .base import PointwiseJudge
from .conversations import Prompt, Response, as_text, check_lengths, digest
from .endpoint import Completion, EndpointOptions
from .llm_scale import LLMScale
from .replies import PaidReplies, Question, messages_for
from .templates import check_template, fill
from .two_orders import TwoOrderJudge
from .verdicts import PARSERS, parse_score, parse_verdict


SYSTEM_PROMPT = (
    "You compare two answers to the same request. Judge which one serves the person who asked better: is it right, does "
    "it do what was asked, is it clear and no longer than it needs to be? The order in which the answers are shown "
    "means nothing."
)
QUESTION = "# Request\n\n{prompt}\n\n# Answer A\n\n{first}\n\n# Answer B\n\n{second}\n\n# Your verdict\n\n"
TEMPLATES = {
    "letter": QUESTION
    + "Give your reasons in a few sentences, then end with one of: [[A]] if answer A is better, [[B]] if answer B is "
    "better, [[C]] if they are equally good.",
    "json": QUESTION
    + 'Reply with one JSON object: {"reason": "...", "verdict": "A" or "B" or "tie"}, naming the better answer.',
    "logprobs": QUESTION + "Reply with the letter of the better answer and nothing else: A or B.",
}
SCORE_SYSTEM_PROMPT = "You grade answers to requests: are they right, do they do what was asked, are they clear?"
SCORE_TEMPLATE = (
    "# Request\n\n{prompt}\n\n# Answer\n\n{response}\n\n# Your grade\n\nGive your reasons in a few sentences, then end "
    "with a score between {low} (useless) and {high} (could not be better) in double brackets, like [[{high}]]."
)


class LLMJudge(TwoOrderJudge):
    """Asks an LLM which of two answers is better, in both orders; nothing is paid for twice.

    Args:
        options: endpoint, sampling, concurrency, retries, prices.
        template: user message with the fields `{prompt}`, `{first}`, `{second}`; None: ours for the parser.
        system_prompt: "" sends none.
        parser: "letter" (`[[A]]`, `[[B]]`, `[[C]]` for a tie), "json" (`{"verdict": "A" | "B" | "tie"}`) or "logprobs"
            (probability of the first label at the first token; needs `options.top_logprobs`).
        labels: the two labels of the parser "logprobs".
        attempts: replies that may be paid for until one holds a verdict.
        cache: append-only JSONL file of all replies, safe against kill -9 and to be kept; None: memory only.
        both_orders: see `TwoOrderJudge`.

    The fingerprint covers model, prompt texts, parser and sampling; not the address, the key, concurrency or retries.
    """

    def __init__(
        self,
        options: EndpointOptions,
        template: str | None = None,
        system_prompt: str = SYSTEM_PROMPT,
        parser: str = "letter",
        labels: tuple[str, str] = ("A", "B"),
        attempts: int = 2,
        cache: str | os.PathLike[str] | None = None,
        both_orders: bool = True,
    ) -> None:
        super().__init__(both_orders)
        if parser not in PARSERS:
            raise InputError(f"parser is {parser!r}: it must be one of {', '.join(PARSERS)}")
        if parser == "logprobs" and options.top_logprobs is None:
            raise InputError('parser "logprobs" needs top_logprobs (how many to ask for, for example 5)')
        self.options = options
        self.template = template or TEMPLATES[parser]
        check_template(self.template)
        self.system_prompt = system_prompt
        self.parser = parser
        self.labels = (labels[0], labels[1])
        self.replies = PaidReplies(
            options,
            judge=digest(self._request_identity()),
            read=lambda reply, _: parse_verdict(reply, self.parser, self.labels),
            attempts=attempts,
            cache=cache,
            stats=self.stats,
        )

    def _request_identity(self) -> dict[str, Any]:
        """What decides a reply and its reading."""
        return {
            "judge": "llm",
            "sampling": self.options.sampling(),
            "system_prompt": self.system_prompt,
            "template": self.template,
            "parser": self.parser,
            "labels": list(self.labels),
        }

    def identity(self) -> dict[str, Any]:
        return {**self._request_identity(), "attempts": self.replies.attempts, "both_orders": self.both_orders}

    def first_wins(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        check_lengths(prompts=prompts, first=first, second=second)
        questions = []
        for prompt, one, other in zip(prompts, first, second, strict=True):
            texts = {"prompt": as_text(prompt), "first": as_text(one), "second": as_text(other)}
            notes = {
                "prompt": digest(texts["prompt"]),
                "first": digest(texts["first"]),
                "second": digest(texts["second"]),
            }
            # Which answer stands first is part of the content, so the two orders have keys of their own.
            questions.append(Question(texts, messages_for(fill(self.template, **texts), self.system_prompt), notes))
        return np.array(self.replies.values(questions), dtype=float)


class LLMScoreJudge(LLMScale, PointwiseJudge):
    """Asks an LLM to grade each answer alone, from `low` to `high`; preferences follow Bradley-Terry.

    Args:
        template: user message with the fields `{prompt}` and `{response}` (and `{low}`, `{high}` where wanted).
        low, high: range of the score; a reply outside it is a failure.
        options, system_prompt, attempts, cache: see `LLMJudge`.
    """

    kind = "llm_score"
    places = ("prompt", "response")

    def __init__(
        self,
        options: EndpointOptions,
        template: str = SCORE_TEMPLATE,
        system_prompt: str = SCORE_SYSTEM_PROMPT,
        low: float = 0,
        high: float = 10,
        attempts: int = 2,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()

        def read(reply: Completion, _: Question) -> float | None:
            return parse_score(reply, self.low, self.high)

        self._set_up(options, template, system_prompt, (low, high), read, attempts, cache)

    def score_batch(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> np.ndarray:
        check_lengths(prompts=prompts, responses=responses)
        scale = {"low": f"{self.low:g}", "high": f"{self.high:g}"}
        questions = []
        for prompt, response in zip(prompts, responses, strict=True):
            texts = {"prompt": as_text(prompt), "response": as_text(response)}
            notes = {name: digest(text) for name, text in texts.items()}
            user = fill(self.template, **texts, **scale)
            questions.append(Question(texts, messages_for(user, self.system_prompt), notes))
        return np.array(self.replies.values(questions), dtype=float)
