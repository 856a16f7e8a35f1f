"""Judges, one protocol: which of several responses to a prompt is better, and by how much.

`judge.judge(prompts, responses)` gives preferences [N, K, K], `judge.scores(prompts, responses)` rewards [N, K] where
the judge has them, `judge.compare(prompt, a, b)` one probability. Adapters: reward models, pairwise models, LLMs behind
an OpenAI-compatible endpoint, rules, and ensembles of these; `load_judge(spec)` makes one from a name or a file.

Names are imported on first use, so that a judge without a model needs no torch.
"""

import importlib
from typing import TYPE_CHECKING


_EXPORTS = {
    "ChatEndpoint": "endpoint",
    "Completion": "endpoint",
    "EndpointFailure": "endpoint",
    "EndpointOptions": "endpoint",
    "EnsembleJudge": "ensemble",
    "ExactAnswerJudge": "rules",
    "Judge": "base",
    "JudgeStats": "stats",
    "LLMJudge": "llm",
    "LLMScoreJudge": "llm",
    "LLMSideBySideJudge": "side_by_side",
    "LengthJudge": "rules",
    "PairModelJudge": "pair_model",
    "PairRMJudge": "pairrm",
    "PointwiseJudge": "base",
    "RecordLog": "records",
    "RegexJudge": "rules",
    "RewardModelJudge": "reward_model",
    "ScoringJudge": "base",
    "TwoOrderJudge": "two_orders",
    "VotingJudge": "ensemble",
    "load_judge": "spec",
}

__all__ = [
    "ChatEndpoint",
    "Completion",
    "EndpointFailure",
    "EndpointOptions",
    "EnsembleJudge",
    "ExactAnswerJudge",
    "Judge",
    "JudgeStats",
    "LLMJudge",
    "LLMScoreJudge",
    "LLMSideBySideJudge",
    "LengthJudge",
    "PairModelJudge",
    "PairRMJudge",
    "PointwiseJudge",
    "RecordLog",
    "RegexJudge",
    "RewardModelJudge",
    "ScoringJudge",
    "TwoOrderJudge",
    "VotingJudge",
    "load_judge",
]

if TYPE_CHECKING:
    from .base import Judge, PointwiseJudge, ScoringJudge
    from .endpoint import ChatEndpoint, Completion, EndpointFailure, EndpointOptions
    from .ensemble import EnsembleJudge, VotingJudge
    from .llm import LLMJudge, LLMScoreJudge
    from .pair_model import PairModelJudge
    from .pairrm import PairRMJudge
    from .records import RecordLog
    from .reward_model import RewardModelJudge
    from .rules import ExactAnswerJudge, LengthJudge, RegexJudge
    from .side_by_side import LLMSideBySideJudge
    from .spec import load_judge
    from .stats import JudgeStats
    from .two_orders import TwoOrderJudge


def __getattr__(name: str):
    if name in _EXPORTS:
        return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module 'alignkit.judges' has no attribute {name!r}")
