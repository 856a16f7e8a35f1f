"""PPOConfig: what PPO adds to the online trainer's configuration."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...errors import InputError
from ...objectives.arguments import require_choice, require_range
from ...objectives.values import check_value_clip
from ...parts.advantages.gae import GAEAdvantagesConfig
from ...parts.part import default_of
from ..online.config import OnlineConfig
from ..online.one import One


# TRL's names of PPO's clipped loss, which differ in how tokens are averaged.
CLIPPED_LOSSES = ("dapo", "grpo", "bnpo", "dr_grpo", "luspo")
CRITICS = ("separate", "shared_head", "adapter")


@dataclass
class PPOConfig(OnlineConfig, GAEAdvantagesConfig):
    r"""Configuration of [`PPOTrainer`]: that of [`OnlineConfig`], the settings of GAE, and the critic's.

    Parameters:
        num_generations (`int`, *optional*, defaults to `1`):
            Completions per prompt; PPO needs no group.
        critic (`str`, *optional*, defaults to `"separate"`):
            `"separate"` (a model of its own), `"shared_head"` (a head on the policy) or `"adapter"` (a second LoRA
            adapter on the policy's base, with a head).
        critic_model_name_or_path, critic_model_revision (`str`, *optional*):
            What a separate critic starts from.
        critic_learning_rate, critic_max_grad_norm, critic_warmup_steps, critic_initial_value:
            The critic's own optimizer and start.
        vf_coef, cliprange_value, detach_value_backbone:
            The value loss.
        dual_clip (`float`, *optional*):
            Bound of the ratio for negative advantages.
    """

    num_generations: int | None = field(
        default=1, metadata={"help": "Completions per prompt. Valid: at least 1; PPO needs no group."}
    )
    critic: str = field(
        default="separate",
        metadata={
            "help": "Kind of critic: 'separate' (a model of its own; most robust), 'shared_head' (a head on the policy's "
            "hidden states; cheapest) or 'adapter' (a second LoRA adapter on the policy's base; PPO on one QLoRA GPU)."
        },
    )
    critic_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Model that a separate critic starts from, e.g. the reward model, whose score head it then takes over. "
            "Default: the policy's model, with a head of zeros."
        },
    )
    critic_model_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of `critic_model_name_or_path` on the Hub."}
    )
    critic_learning_rate: float = field(
        default=1e-5, metadata={"help": "Learning rate of the critic's own AdamW. Valid: above 0."}
    )
    critic_max_grad_norm: float = field(
        default=1.0, metadata={"help": "Largest norm of the critic's gradient. Valid: above 0."}
    )
    critic_warmup_steps: int = field(
        default=0, metadata={"help": "First optimizer steps in which the critic alone learns. Valid: at least 0."}
    )
    critic_initial_value: float = field(
        default=0.0,
        metadata={
            "help": "What a new head says of every text at the start. Near the mean score, the critic need not learn that "
            "first, which takes long in a linear head. No effect on the head of a reward model. Valid: finite."
        },
    )
    vf_coef: float = field(
        default=0.1,
        metadata={
            "help": "Weight of the value loss beside the policy's, for critic 'shared_head', which alone is in one backward "
            "pass with the policy. Valid: at least 0."
        },
    )
    cliprange_value: float | None = field(
        default=0.2, metadata={"help": "How far a value may move in one update. Valid: above 0; none: not clipped."}
    )
    detach_value_backbone: bool = field(
        default=False,
        metadata={"help": "Whether the value loss of critic 'shared_head' stops at the head and spares the policy."},
    )
    dual_clip: float | None = field(
        default=None,
        metadata={
            "help": "Bound on the ratio where the advantage is negative. Valid: at least 1 + epsilon_high and above 1; none."
        },
    )

    preset: ClassVar[dict[str, str]] = {"advantage": "gae"}

    def __post_init__(self):
        require_choice("critic", self.critic, CRITICS)
        require_range("critic_learning_rate", self.critic_learning_rate, 0.0, math.inf, low_open=True, high_open=True)
        require_range("critic_max_grad_norm", self.critic_max_grad_norm, 0.0, low_open=True)
        require_range("critic_warmup_steps", self.critic_warmup_steps, 0)
        require_range(
            "critic_initial_value", self.critic_initial_value, -math.inf, math.inf, low_open=True, high_open=True
        )
        require_range("vf_coef", self.vf_coef, 0.0, math.inf, high_open=True)
        check_value_clip(self.cliprange_value)
        if self.num_generations is None:
            self.num_generations = 1
        require_range("num_generations", self.num_generations, 1)
        self._check_critic()
        self._set_dual_clip()
        # TRL's checks of batch sizes and groups take place with a 1 that passes for 2.
        if self.num_generations == 1:
            self.num_generations = One(1)
        super().__post_init__()
        self.num_generations = int(self.num_generations)
        if self.fp16:
            raise InputError("`fp16` scales the policy's loss alone, not the critic's; train in bf16 or float32.")

    @property
    def needs_reference(self) -> bool:
        return super().needs_reference or self.rewards_need_reference

    @property
    def rewards_need_reference(self) -> bool:
        """Whether the token rewards are measured against the reference."""
        estimator: Any = self.chosen_parts["advantage"]
        return estimator.part.needs_reference(estimator.config)

    def _check_critic(self) -> None:
        """Refuse settings of another kind of critic, which would have no effect."""
        separate = {"critic_model_name_or_path": None, "critic_model_revision": None}
        shared = {name: default_of(PPOConfig, name) for name in ("vf_coef", "detach_value_backbone")}
        for kind, settings in {"separate": separate, "shared_head": shared}.items():
            for name, default in settings.items():
                if self.critic != kind and getattr(self, name) != default:
                    raise InputError(
                        f"`{name}` is {getattr(self, name)!r}, but it belongs to critic {kind!r}, and the critic is "
                        f"{self.critic!r}; leave it out, or set `critic: {kind}`."
                    )
        if self.critic_model_revision is not None and self.critic_model_name_or_path is None:
            raise InputError("`critic_model_revision` needs `critic_model_name_or_path`.")

    def _set_dual_clip(self) -> None:
        """TRL's two-sided clipping is the dual clip wherever its bound is not below the upper clip bound."""
        if self.dual_clip is None:
            return
        high = self.epsilon if self.epsilon_high is None else self.epsilon_high
        require_range("dual_clip", self.dual_clip, max(1 + high, 1.0), math.inf, low_open=high == 0, high_open=True)
        delta: float | None = self.delta  # type: ignore[has-type]
        if delta not in (None, self.dual_clip):
            raise InputError(f"`delta` is {delta} and `dual_clip` is {self.dual_clip}; they are the same bound.")
        given = self.policy_loss or self.loss_type
        loss = given.get("name") if isinstance(given, dict) else given
        if loss not in CLIPPED_LOSSES:
            raise InputError(
                f"`dual_clip` is {self.dual_clip}, but it bounds PPO's clipped loss alone, and the loss is {loss!r}; leave "
                "one of them out."
            )
        self.delta = self.dual_clip
