"""An LLM that scores all responses to a prompt in one reply, as in the experiments of DNO (arXiv 2404.03715)."""

import os
import random
from collections.abc import Sequence

import numpy as np

from .base import ScoringJudge
from .conversations import Prompt, Response, as_text, check_lengths, digest
from .endpoint import Completion, EndpointOptions
from .llm_scale import LLMScale
from .replies import Question, messages_for
from .templates import fill
from .verdicts import parse_score_list


SYSTEM_PROMPT = (
    "You grade several answers to the same request side by side. The order in which they are shown means nothing, nor "
    "does their length."
)
# The scale is additive, as in the paper; the wording of the points is ours.
TEMPLATE = (
    "# Request\n\n{prompt}\n\n{responses}\n\n# Your grades\n\nGive every answer a score from {low} to {high}. Add points for "
    "what it does: it is about what was asked; it answers the main part of it; it answers all of it; what it says is "
    "right; it is clear and well ordered; an expert would have written it so. Compare the answers briefly, then end "
    'with one JSON object that holds the {count} scores in the order of the answers: {"scores": [...]}'
)


class LLMSideBySideJudge(LLMScale, ScoringJudge):
    """Asks an LLM once per prompt to score all its responses, from `low` to `high`; preferences follow Bradley-Terry.

    Equal responses are shown once and share their score. The order in which the responses are shown is drawn from their
    content, so that no place (such as the last, where a teacher's response stands) is favoured throughout; a reply
    without exactly one score in range for each response is a failure for all of them.

    Args:
        template: user message with the fields `{prompt}`, `{responses}` and, where wanted, `{count}`, `{low}`, `{high}`.
        low, high: range of the scores.
        options, system_prompt, attempts, cache: see `LLMJudge`.
    """

    kind = "llm_side_by_side"
    places = ("prompt", "responses")

    def __init__(
        self,
        options: EndpointOptions,
        template: str = TEMPLATE,
        system_prompt: str = SYSTEM_PROMPT,
        low: float = 0,
        high: float = 6,
        attempts: int = 2,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()

        def read(reply: Completion, question: Question) -> list[float] | None:
            return parse_score_list(reply, len(question.notes["responses"]), self.low, self.high)

        self._set_up(options, template, system_prompt, (low, high), read, attempts, cache)

    def scores(self, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]) -> np.ndarray:
        check_lengths(prompts=prompts, responses=responses)
        groups = [[as_text(response) for response in group] for group in responses]
        asked = [n for n, group in enumerate(groups) if group]
        shown = {n: shown_order(as_text(prompts[n]), groups[n]) for n in asked}
        questions = [self._question(as_text(prompts[n]), shown[n]) for n in asked]
        scores = np.full((len(groups), max(map(len, groups), default=0)), np.nan)
        for n, values in zip(asked, self.replies.values(questions), strict=True):
            if isinstance(values, list):
                score_of = dict(zip(shown[n], values, strict=True))
                scores[n, : len(groups[n])] = [score_of[text] for text in groups[n]]
        return scores

    def _question(self, prompt: str, responses: list[str]) -> Question:
        listed = "\n\n".join(f"# Answer {place}\n\n{text}" for place, text in enumerate(responses, start=1))
        scale = {"count": str(len(responses)), "low": f"{self.low:g}", "high": f"{self.high:g}"}
        user = fill(self.template, prompt=prompt, responses=listed, **scale)
        notes = {"prompt": digest(prompt), "responses": [digest(text) for text in responses]}
        return Question({"prompt": prompt, "responses": responses}, messages_for(user, self.system_prompt), notes)


def shown_order(prompt: str, responses: list[str]) -> list[str]:
    """The different responses in the order in which they are shown: a permutation drawn from the content."""
    distinct = sorted(set(responses))
    random.Random(digest([prompt, distinct])).shuffle(distinct)
    return distinct
