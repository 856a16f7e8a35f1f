"""What a judge counts while it works: calls, cache, failures by kind, tokens, cost, position bias."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class OrderStats:
    """Position bias of a judge that sees both orders.

    Attributes:
        pairs: pairs judged in both orders.
        first_share: sum over these of the mean probability given to the answer shown first.
        inconsistent: pairs whose two verdicts name different winners, or a winner once and a tie once.
    """

    pairs: int = 0
    first_share: float = 0.0
    inconsistent: int = 0

    def add(self, first_wins: float, first_wins_swapped: float) -> None:
        """Count one pair: the probability of the answer shown first, in each of the two orders."""
        self.pairs += 1
        self.first_share += (first_wins + first_wins_swapped) / 2
        winner, swapped = first_wins - 0.5, 0.5 - first_wins_swapped
        self.inconsistent += (winner > 0, winner < 0) != (swapped > 0, swapped < 0)

    def to_dict(self) -> dict[str, Any] | None:
        """Bias (mean probability of the first-shown answer minus 1/2; above 0 favours it) and inconsistent share."""
        if not self.pairs:
            return None
        return {
            "pairs": self.pairs,
            "bias": self.first_share / self.pairs - 0.5,
            "inconsistent_share": self.inconsistent / self.pairs,
        }


@dataclass
class JudgeStats:
    """Counts of one judge since it was made.

    Attributes:
        calls: sequences scored by a model, or requests sent to an endpoint.
        cache_hits: judgements answered from the cache without a call.
        failures: judgements that ended as NaN, by kind.
        retries: requests that failed and were sent again, by kind.
        prompt_tokens, completion_tokens: as the endpoint reported them.
        cost: in the currency of the price table, of the calls with a known price.
        unpriced_calls: answered calls without a known price; `cost` is a lower bound where this is not 0.
        order: position bias.
        parts: counts of the members of an ensemble.
    """

    calls: int = 0
    cache_hits: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    unpriced_calls: int = 0
    order: OrderStats = field(default_factory=OrderStats)
    parts: list["JudgeStats"] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All counts, as JSON values; `position_bias` is None for a judge that never saw both orders."""
        counts: dict[str, Any] = {
            "calls": self.calls,
            "cache_hits": self.cache_hits,
            "failures": dict(sorted(self.failures.items())),
            "retries": dict(sorted(self.retries.items())),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost,
            "unpriced_calls": self.unpriced_calls,
            "position_bias": self.order.to_dict(),
        }
        if self.parts:
            counts["members"] = [part.to_dict() for part in self.parts]
        return counts

    @property
    def calls_in_all(self) -> int:
        """Calls, those of the members of an ensemble included."""
        return self.calls + sum(part.calls_in_all for part in self.parts)

    def flat(self) -> Counter[str]:
        """All counts as numbers that may be added and subtracted, the members' included."""
        counts: Counter[str] = Counter(
            {
                "calls": self.calls,
                "cost": self.cost,
                "unpriced_calls": self.unpriced_calls,
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": self.completion_tokens,
                "order/pairs": self.order.pairs,
                "order/first_share": self.order.first_share,
                "order/inconsistent": self.order.inconsistent,
                **{f"failures/{kind}": count for kind, count in self.failures.items()},
            }
        )
        for part in self.parts:
            counts.update(part.flat())
        return counts


def since(now: Counter[str], before: Counter[str]) -> dict[str, float]:
    """What was counted between two calls of `JudgeStats.flat`; zeros are left out."""
    return {name: value - before[name] for name, value in now.items() if value != before[name]}


def as_metrics(counts: Mapping[str, float]) -> dict[str, Any]:
    """Counts of `JudgeStats.flat` as metrics: failures by kind, tokens and cost where there were any, position bias."""
    metrics: dict[str, Any] = {
        f"judge/{name}": value
        for name, value in sorted(counts.items())
        if value and name != "calls" and not name.startswith("order/")
    }
    pairs = counts.get("order/pairs", 0)
    if pairs:
        order = OrderStats(int(pairs), counts.get("order/first_share", 0.0), int(counts.get("order/inconsistent", 0)))
        shares = order.to_dict() or {}
        metrics["judge/position_bias"] = shares["bias"]
        metrics["judge/inconsistent_share"] = shares["inconsistent_share"]
    return metrics
