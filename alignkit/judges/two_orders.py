"""Judges that read two answers at once are asked in both orders, so that position bias cancels and is measured."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from .base import Judge
from .conversations import Prompt, Response, canonical, check_lengths


class TwoOrderJudge(Judge):
    r"""A pairwise judge, symmetrised: \( P(a \succ b) = \frac12 (p_{ab} + 1 - p_{ba}) \).

    Here \( p_{ab} \) is the probability that the judge gives to a when it is shown first. A pair with a failed order
    is NaN: one order alone would carry the position bias. Equal responses are a tie (1/2) without a call.

    Args:
        both_orders: False asks once, in the order given, at half the price; the bias is then neither cancelled nor
            measured.
    """

    def __init__(self, both_orders: bool = True) -> None:
        super().__init__()
        self.both_orders = both_orders

    @abstractmethod
    def first_wins(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        """Probability [M] of the answer shown first, in the order shown; NaN where it failed."""

    def compare_batch(
        self, prompts: Sequence[Prompt], first: Sequence[Response], second: Sequence[Response]
    ) -> np.ndarray:
        check_lengths(prompts=prompts, first=first, second=second)
        values = np.full(len(prompts), 0.5)
        asked = [m for m in range(len(prompts)) if canonical(first[m]) != canonical(second[m])]
        if not asked:
            return values
        questions, ahead, behind = [prompts[m] for m in asked], [first[m] for m in asked], [second[m] for m in asked]
        if not self.both_orders:
            values[asked] = self.first_wins(questions, ahead, behind)
            return values
        # One call for both orders, so that an endpoint works on all of them at once.
        shown = self.first_wins(questions * 2, ahead + behind, behind + ahead)
        forward, backward = shown[: len(asked)], shown[len(asked) :]
        for one, other in zip(forward, backward, strict=True):
            if np.isfinite(one) and np.isfinite(other):
                self.stats.order.add(float(one), float(other))
        values[asked] = (forward + 1 - backward) / 2
        return values
