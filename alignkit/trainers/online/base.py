"""OnlineTrainer: `trl.GRPOTrainer` made of parts. A method is a preset of them."""

import logging
from typing import Any

from trl import GRPOTrainer as TRLGRPOTrainer

from ..epoch_sampler import EpochSamplerMixin
from ..resume import ExactResumeMixin
from ..run_facts import RunFactsMixin
from ..self_checks import Finding, run_self_checks
from .config import OnlineConfig
from .loss import PolicyLossMixin
from .prompt_sharing import PromptSharingMixin
from .rewards import resolve_rewards
from .rollouts import RolloutsMixin
from .state import OnlineStateMixin


logger = logging.getLogger(__name__)


class OnlineTrainer(
    RunFactsMixin,
    ExactResumeMixin,
    OnlineStateMixin,
    EpochSamplerMixin,
    RolloutsMixin,
    PolicyLossMixin,
    PromptSharingMixin,
    TRLGRPOTrainer,
):
    """Base of the online trainers; with every slot empty and `shared_prefix` off it is `trl.GRPOTrainer` bit for bit.

    Takes the arguments of `trl.GRPOTrainer`; `args` is an [`OnlineConfig`]. `reward_funcs` may also be what a YAML file
    holds (names, mappings); left out, they are those of `args.reward_funcs`.
    """

    _tag_names = ["alignkit", "trl", "grpo"]

    args: OnlineConfig
    parts: dict[str, Any]
    findings: list[Finding] | None = None  # of the self-checks, once they ran

    def __init__(self, model, reward_funcs=None, args: OnlineConfig | None = None, **kwargs):
        if args is None:
            args = OnlineConfig(output_dir=f"outputs/{self.method_key or 'online'}")
        self.parts = {slot: choice.build(args.seed) for slot, choice in args.chosen_parts.items()}
        rewards = resolve_rewards(reward_funcs, args)
        beta = args.beta
        # TRL loads a reference only for a KL in the loss; what else is measured against one needs it too.
        if args.needs_reference:
            args.beta = beta or 1.0
        try:
            super().__init__(model=model, reward_funcs=rewards, args=args, **kwargs)
        finally:
            args.beta = beta
        self.beta = beta
        self.open_sharing()
        for part in self.parts.values():
            part.check_rewards(self.reward_func_names)
        for sentence in args.warnings():
            logger.warning(sentence)
        self.open_parts()

    def _after_generation(self, output: dict[str, Any]) -> None:
        """Run the self-checks on the first generation batch of training."""
        if self.args.self_checks and self.findings is None and self.model.training:
            self.findings = run_self_checks(self, self.rollout_rewards, output)
