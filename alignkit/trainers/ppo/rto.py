"""RTO: Reinforced Token Optimization (arXiv 2404.18922): PPO whose token rewards come from a finished DPO model."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...catalog import get
from ...errors import InputError
from ...parts.advantages.rto import DPO_MODEL, DPO_REFERENCE, RTOAdvantagesConfig
from ..frozen_models import FrozenModels
from .base import PPOTrainer
from .config import PPOConfig


@dataclass
class RTOConfig(RTOAdvantagesConfig, PPOConfig):
    r"""Configuration of [`RTOTrainer`]: that of [`PPOConfig`], and the settings of the advantage part `rto`.

    Parameters:
        dpo_model (`str`):
            The finished DPO model: an adapter folder, a model folder or a Hub name.
        learning_rate (`float`, *optional*, defaults to `5e-7`):
            Of the policy, as in the paper.
        critic_learning_rate (`float`, *optional*, defaults to `9e-6`):
            Of the critic, as in the paper.

    Raises:
        InputError: for a run whose score would count and that has none.
    """

    dpo_model: str | None = field(
        default=None,
        metadata={
            "help": "The finished DPO model (adapter folder, model folder or Hub name). An adapter on the policy's base lies "
            "beside the policy's, so that only one base is in memory."
        },
    )
    learning_rate: float = field(default=5e-7, metadata={"help": "Learning rate of the policy. Valid: above 0."})
    critic_learning_rate: float = field(
        default=9e-6, metadata={"help": "Learning rate of the critic's own AdamW. Valid: above 0."}
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "rto"}

    def __post_init__(self):
        super().__post_init__()
        if self.beta3 == 0 and self.reward_funcs is None:
            self.reward_funcs = [f"{__name__}:no_reward"]

    def frozen_models(self) -> dict[str, str | None]:
        return {"dpo_model": self.dpo_model, **({} if self.dpo_ref is None else {"dpo_ref": self.dpo_ref})}


def no_reward(completions: list, **columns: Any) -> list[float]:
    """The score of a run without one: 0 for everything."""
    return [0.0] * len(completions)


class RTOTrainer(PPOTrainer):
    """PPO with the clipped log-ratio of a DPO model to its reference as a reward at every token.

    Arguments are those of [`PPOTrainer`], and `dpo_model`, `dpo_ref`: models, or names that stand for those of `args`.
    """

    _tag_names = ["alignkit", "trl", "rto"]
    _name = "RTO"
    _paper = get("rto").paper
    method_key = "rto"

    args: RTOConfig

    def __init__(
        self, model, reward_funcs=None, args: RTOConfig | None = None, *, dpo_model=None, dpo_ref=None, **kwargs
    ):
        if args is None:
            args = RTOConfig(output_dir=f"outputs/{self.method_key}")
        dpo_model, dpo_ref = dpo_model or args.dpo_model, dpo_ref or args.dpo_ref
        if dpo_model is None:
            raise InputError(
                "`dpo_model` is missing: name the finished DPO model, e.g. the output folder of `alignkit train dpo`."
            )
        for name, given in {"dpo_model": dpo_model, "dpo_ref": dpo_ref}.items():
            setattr(args, name, given if given is None or isinstance(given, str) else given.config._name_or_path)
        args.chosen_parts["advantage"].config.dpo_ref = args.dpo_ref
        super().__init__(model, reward_funcs, args, **kwargs)
        self.frozen = FrozenModels(self)
        with torch.random.fork_rng(devices=[]):  # loading draws random numbers, which shall not change the samples
            self.frozen.add(DPO_MODEL, dpo_model)
            if dpo_ref is not None:
                self.frozen.add(DPO_REFERENCE, dpo_ref)
        for model in self.frozen.models.values():
            self.share_in(model)

    def _more_to_load(self, output: dict[str, Any]) -> dict[str, Any]:
        return {
            **super()._more_to_load(output),
            "logps_under": lambda name: self._gather_tokens(self._frozen_logps(output, name)),
        }

    def _frozen_logps(self, output: dict[str, Any], name: str):
        """[n, T] log-probabilities of the completions under a frozen model."""
        with self.frozen.open(name) as model:
            return self._token_logps(output, model)
