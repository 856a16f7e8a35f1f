"""COPO's two advantages (arXiv 2508.04138): within the prompt and between prompts, and the weight of the first."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from ...objectives.advantages import check_copo, copo_advantages
from ..part import PartConfig
from ..rollout import Advantages, RolloutBatch
from .answer_ids import find_extractor, ids_of_answers
from .base import AdvantageEstimator


@dataclass
class COPOAdvantagesConfig(PartConfig):
    """Settings of COPO's advantages.

    Parameters:
        answer_extractor (`str`):
            What reads the final answer of a completion.
        gamma, rho (`float`, *optional*, defaults to `20.0` and `1.5`):
            Steepness and centre of the gate on the entropy of the answers.
        consistency_reward, zero_reward_global (`bool`, *optional*, default to `False`):
            Variants of the official code.
    """

    answer_extractor: str | None = field(
        default=None,
        metadata={
            "help": "What reads the final answer of a completion. Required. 'boxed' (the last \\boxed{}), 'final' (the "
            "last \\boxed{}, else <answer></answer>, #### or Answer:), or a function of the completion's text as "
            "package.module:function or path/to/file.py:function."
        },
    )
    gamma: float = field(
        default=20.0,
        metadata={"help": "Steepness of the gate, per bit of answer entropy. Valid: at least 0. Official script: 5."},
    )
    rho: float = field(
        default=1.5,
        metadata={
            "help": "Entropy of the answers, in bits, at which the local and the global loss weigh the same. Valid: at "
            "least 0; at log2(num_generations) or more the local loss never leads. Official script: 1."
        },
    )
    consistency_reward: bool = field(
        default=False,
        metadata={"help": "Whether a prompt's reward is scaled down by the entropy of its answers."},
    )
    zero_reward_global: bool = field(
        default=False,
        metadata={
            "help": "Whether completions with a reward of exactly 0 use the global loss alone. Not in the paper."
        },
    )

    def __post_init__(self):
        check_copo(self.gamma, self.rho)
        find_extractor(self.answer_extractor)


class COPOAdvantages(AdvantageEstimator):
    """`copo`: groups whose answers all agree, which have no signal in GRPO, are compared with the other prompts."""

    Config = COPOAdvantagesConfig

    @classmethod
    def extras(cls, config: Any) -> tuple[str, ...]:
        return ("global_advantages", "local_weight")

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        found = []
        largest = math.log2(args.num_generations)
        if config.rho >= largest:
            found.append(
                f"`rho` is {config.rho:g} bits, and {args.num_generations} completions have at most {largest:.2f} bits: "
                "the local loss never leads. Lower `rho` or raise `num_generations`."
            )
        if args.generation_batch_size == args.num_generations:
            found.append(
                "a generation batch holds one prompt, so that there is no other to compare with and the global advantage "
                "is 0. Raise `steps_per_generation` or `per_device_train_batch_size`."
            )
        return found

    def estimate(self, batch: RolloutBatch) -> Advantages:
        config = self.config
        ids = ids_of_answers(batch.texts, find_extractor(config.answer_extractor), config.answer_extractor)
        rewards = batch.totals
        result = copo_advantages(
            rewards,
            batch.num_generations,
            ids,
            config.gamma,
            config.rho,
            config.consistency_reward,
            config.zero_reward_global,
        )
        local, between = result.local_advantages, result.global_advantages
        weight = result.local_weight
        signal = ((weight * local).abs() + ((1 - weight) * between).abs() > 0).view(-1, batch.num_generations)
        agreeing = (local == 0) & (between != 0)
        return Advantages(
            local,
            extras={"global_advantages": between, "local_weight": weight},
            metrics={
                "copo/answer_entropy": float(result.entropy.mean()),
                "copo/local_weight": float(weight.mean()),
                "copo/global_only_share": float(agreeing.to(torch.float32).mean()),
                "copo/prompts_with_signal": float(signal.any(dim=1).to(torch.float32).mean()),
            },
        )
