"""The reward functions that a YAML may name."""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedReward:
    """A reward function by name: where it is, one line of help, whether `target` makes it or is it."""

    target: str
    help: str
    makes: bool = True

    def load(self) -> Any:
        """Import the target."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


OURS = "alignkit.rewards"

REWARDS: dict[str, NamedReward] = {
    "math_accuracy": NamedReward(
        f"{OURS}.answers:math_accuracy",
        "1 where math-verify finds the answer right (column `answer`), in killable workers",
    ),
    "exact_answer": NamedReward(
        f"{OURS}.answers:ExactAnswerReward", "1 where the final answer is the text of the column `answer`"
    ),
    "boxed_once": NamedReward(
        f"{OURS}.formats:boxed_once", r"1 for exactly one \boxed{...}, closed, not empty", False
    ),
    "think_tags": NamedReward(
        f"{OURS}.formats:ThinkTagsReward", "1 for one <think>...</think> and an answer after it"
    ),
    "regex": NamedReward(f"{OURS}.formats:RegexReward", "1 where `pattern` is found (`whole: true`: matches all)"),
    "soft_overlong": NamedReward(
        f"{OURS}.lengths:soft_overlong", "DAPO's punishment from 0 to -1 near the longest length (arXiv 2503.14476)"
    ),
    "cosine_length": NamedReward(
        f"{OURS}.lengths:CosineLengthReward", "math_accuracy, scaled with the length by a cosine (arXiv 2502.03373)"
    ),
    "brevity": NamedReward(f"{OURS}.lengths:BrevityReward", "1 for no tokens, falling to 0 at max_completion_length"),
    "ensemble": NamedReward(
        f"{OURS}.ensemble:EnsembleReward",
        "reward models together: mean, worst case (wco) or less the variance (uwo) (arXiv 2310.02743)",
    ),
    "accuracy_reward": NamedReward(
        "trl.rewards:accuracy_reward", "TRL: math-verify against the column `solution`, in this process", False
    ),
    "reasoning_accuracy_reward": NamedReward(
        "trl.rewards:reasoning_accuracy_reward", "TRL: accuracy_reward after the thought; 0 without its end", False
    ),
    "think_format_reward": NamedReward(
        "trl.rewards:think_format_reward", "TRL: 1 where the completion starts with <think>...</think>", False
    ),
    "get_cosine_scaled_reward": NamedReward(
        "trl.rewards:get_cosine_scaled_reward", "TRL: accuracy_reward, scaled with the length by a cosine"
    ),
    "get_repetition_penalty_reward": NamedReward(
        "trl.rewards:get_repetition_penalty_reward", "TRL: a penalty for repeated token n-grams"
    ),
    "get_soft_overlong_punishment": NamedReward(
        "trl.rewards:get_soft_overlong_punishment", "TRL: the function behind soft_overlong"
    ),
}
