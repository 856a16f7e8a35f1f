"""PPOTrainer: the online trainer with a critic (Schulman et al. 2017, arXiv 1707.06347; for RLHF, arXiv 2203.02155)."""

from typing import Any

import torch
from trl.trainer.utils import use_adapter

from ...catalog import get
from ...errors import InputError
from ..online.base import OnlineTrainer
from .config import PPOConfig
from .critic_training import CriticMixin
from .critics import make_critic


class PPOTrainer(CriticMixin, OnlineTrainer):
    """Proximal policy optimisation with GAE, a KL to the reference in the reward, and one of three critics.

    Arguments are those of [`OnlineTrainer`]; `args` is a [`PPOConfig`].
    """

    _tag_names = ["alignkit", "trl", "ppo"]
    _name = "PPO"
    _paper = get("ppo").paper
    method_key = "ppo"

    args: PPOConfig

    def __init__(self, model, reward_funcs=None, args: PPOConfig | None = None, **kwargs):
        if args is None:
            args = PPOConfig(output_dir=f"outputs/{self.method_key}")
        beta = args.beta
        # TRL loads a reference only for a KL in the loss; the one in the token rewards needs it too.
        if args.rewards_need_reference:
            args.beta = beta or 1.0
        try:
            super().__init__(model, reward_funcs, args, **kwargs)
        finally:
            args.beta = beta
        self.beta = beta
        if self._is_vlm:
            raise InputError("the PPO methods read text alone: their critics are not given images.")
        with torch.random.fork_rng(devices=[]):  # what the policy samples shall not depend on the kind of critic
            torch.manual_seed(args.seed)
            self.open_critic(make_critic(self, self.model.config._name_or_path))

    def _more_to_load(self, output: dict[str, Any]) -> dict[str, Any]:
        return {
            **super()._more_to_load(output),
            "ref_logps": lambda: self._gather_tokens(self.reference_logps(output)),
        }

    def reference_logps(self, output: dict[str, Any]) -> torch.Tensor | None:
        if not self.args.rewards_need_reference:
            return super().reference_logps(output)
        if "ref_per_token_logps" in output:
            return output["ref_per_token_logps"]
        if self.ref_model is not None:
            return self._token_logps(output, self.ref_model)
        policy = self.accelerator.unwrap_model(self.model)
        with use_adapter(policy, adapter_name="ref" if "ref" in policy.peft_config else None):
            return self._token_logps(output)
