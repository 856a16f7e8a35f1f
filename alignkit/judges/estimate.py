"""What a judge behind an endpoint will be asked, and may cost, before the first request is sent."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .base import Judge
from .conversations import as_text
from .endpoint import EndpointOptions
from .ensemble import EnsembleJudge, VotingJudge
from .llm import LLMJudge, LLMScoreJudge
from .side_by_side import LLMSideBySideJudge


# English text, roughly; other languages and code need more tokens.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Work:
    """What a judge is asked for: to score, or to compare pairs of, responses.

    Attributes:
        groups: prompts whose responses are scored, or pairs that are compared.
        responses: responses scored for each of them; None: two are compared.
        prompt_tokens, response_tokens: mean length of a prompt and of a response.
    """

    groups: int
    responses: int | None
    prompt_tokens: float
    response_tokens: float

    @property
    def shown(self) -> int:
        return 2 if self.responses is None else self.responses


@dataclass(frozen=True)
class Requests:
    """Requests to one endpoint and the tokens of what is sent."""

    options: EndpointOptions
    calls: int
    prompt_tokens: float

    def sentence(self) -> str:
        """Calls, tokens and price in one sentence."""
        options = self.options
        text = f"{options.model}: {self.calls:,} requests, about {self.prompt_tokens:,.0f} tokens in"
        if options.max_tokens is None:
            return f"{text}, and as many out as the model writes (`max_tokens` is null)."
        replied = self.calls * options.max_tokens
        text += f" and at most {replied:,} out (`max_tokens` {options.max_tokens})"
        cost = options.cost(round(self.prompt_tokens), replied)
        return f"{text}; " + (
            "no price is known (`prices` of the judge file)."
            if cost is None
            else f"at most {cost:,.2f} at its `prices`."
        )


def estimate(judge: Judge, work: Iterable[Work]) -> list[str]:
    """One sentence for each endpoint that the judge asks; none for a judge that costs nothing.

    Every request is counted once: replies that a cache holds are not asked for again, and one without a verdict is
    asked for up to `attempts` times.
    """
    total: dict[str, Requests] = {}
    for item in work:
        for requests in requests_of(judge, item):
            known = total.get(requests.options.model)
            if known is not None:
                requests = replace(
                    known,
                    calls=known.calls + requests.calls,
                    prompt_tokens=known.prompt_tokens + requests.prompt_tokens,
                )
            total[requests.options.model] = requests
    return [requests.sentence() for requests in total.values() if requests.calls]


def requests_of(judge: Judge, work: Work) -> Iterator[Requests]:
    """The requests of a judge, or of its members, for some work."""
    scoring = replace(work, responses=work.shown)
    if isinstance(judge, EnsembleJudge):  # asks for one response at a time
        alone = replace(work, groups=work.groups * work.shown, responses=1)
        for member in judge.judges:
            yield from requests_of(member, alone)
    elif isinstance(judge, VotingJudge):
        for member in judge.judges:
            yield from requests_of(member, replace(work, responses=None))
    elif isinstance(judge, LLMJudge):
        yield request(judge, work.groups * (1 + judge.both_orders), work, 2)
    elif isinstance(judge, LLMScoreJudge):
        yield request(judge, scoring.groups * scoring.shown, work, 1)
    elif isinstance(judge, LLMSideBySideJudge):
        yield request(judge, scoring.groups, work, scoring.shown)


def request(judge: Any, calls: int, work: Work, responses: int) -> Requests:
    """`calls` requests that each show the prompt and so many responses."""
    fixed = (len(judge.template) + len(judge.system_prompt)) / CHARACTERS_PER_TOKEN
    return Requests(judge.options, calls, calls * (fixed + work.prompt_tokens + responses * work.response_tokens))


def mean_tokens(texts: Iterable[Any]) -> float:
    """Mean length of prompts or responses in tokens, by the rule of thumb; 0 for none."""
    lengths = [len(as_text(text)) for text in texts]
    return sum(lengths) / len(lengths) / CHARACTERS_PER_TOKEN if lengths else 0.0
