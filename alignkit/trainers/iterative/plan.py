"""What a loop will sample and ask its judge for, before it starts."""

from dataclasses import dataclass
from typing import Any

from ...judges import PointwiseJudge
from ...judges.estimate import Work, estimate, mean_tokens
from .prepare import Prepared


@dataclass(frozen=True)
class LoopPlan:
    """Numbers of a whole run.

    Attributes:
        iterations: T.
        prompts: training prompts of all iterations together.
        eval_prompts: prompts of each of the T + 1 evaluations.
        responses: responses to each training prompt that are judged, a teacher's included.
        judgements: what the judge is asked for: "scores", "comparisons" or "scores (side by side)", and how often.
        costs: one sentence for each endpoint that has to be paid.
    """

    iterations: int
    prompts: int
    eval_prompts: int
    responses: int
    judgements: tuple[str, int]
    costs: list[str]

    def lines(self) -> list[str]:
        """The plan as text."""
        kind, count = self.judgements
        share = self.prompts // self.iterations
        return [
            f"{self.prompts:,} prompts in {self.iterations} iterations, {share:,} each; {self.responses} responses to each",
            f"{self.eval_prompts:,} evaluation prompts, answered once by the first and by every further policy",
            f"the judge is asked for {count:,} {kind}",
            *(f"cost: {line}" for line in self.costs),
        ]


def plan_loop(config: Any, prepared: Prepared) -> LoopPlan:
    """Count what the judge will be asked for; the lengths of responses are taken as `max_completion_length`."""
    rule, judge = prepared.rule, prepared.judge
    prompts, evaluated = len(prepared.order["train"]), prepared.num_eval
    size = config.num_generations + (rule.gold_column is not None)
    policies = config.num_iterations
    prompt_tokens = mean_tokens(row["prompt"] for row in prepared.rows)

    def work(groups: int, responses: int | None) -> Work:
        return Work(groups, responses, prompt_tokens, config.max_completion_length)

    # Each policy but the first is compared with the one before and the first.
    compared = work(2 * policies * evaluated, None)
    if isinstance(judge, PointwiseJudge):
        parts = [work(prompts, size), work((policies + 1) * evaluated, 1)]
        judgements = ("scores", prompts * size + (policies + 1) * evaluated)
    elif judge.has_scores:
        parts = [work(prompts, size), compared]
        judgements = ("scores, side by side for each prompt", prompts * size + 2 * compared.groups)
    else:
        comparisons = 3 * size // 2 - 1 if rule.judge_output == "tournament" else size * (size - 1) // 2
        parts = [work(prompts * comparisons, None), compared]
        judgements = ("comparisons", sum(part.groups for part in parts))
    return LoopPlan(policies, prompts, evaluated, size, judgements, estimate(judge, parts))
