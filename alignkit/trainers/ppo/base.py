"""PPOTrainer: the online trainer with a critic (Schulman et al. 2017, arXiv 1707.06347; for RLHF, arXiv 2203.02155)."""

import torch

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
        super().__init__(model, reward_funcs, args, **kwargs)
        if self._is_vlm:
            raise InputError("the PPO methods read text alone: their critics are not given images.")
        with torch.random.fork_rng(devices=[]):  # what the policy samples shall not depend on the kind of critic
            torch.manual_seed(args.seed)
            self.open_critic(make_critic(self, self.model.config._name_or_path))
