"""OnlineConfig: `trl.GRPOConfig`, the seven slots, and the rewards by name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from trl.trainer.grpo_config import GRPOConfig as TRLGRPOConfig

from ...config.planning import planned_processes
from ...parts.policy_losses.base import is_on_policy
from ...rewards import ResolvedRewards
from ..devices import default_bf16
from ..shared_prefix.config import SharedPrefixConfig
from .rewards import weighted_rewards
from .slots import SlotChoice, apply_settings, check_parts, choose_parts, warn_of_parts


@dataclass
class OnlineConfig(SharedPrefixConfig, TRLGRPOConfig):
    r"""Configuration of [`OnlineTrainer`]; everything else is [`trl.GRPOConfig`]'s.

    A slot takes the name of a part, or a mapping `{name: ..., setting: value}`; left out, it is plain GRPO.

    `bf16` defaults to `True` only where an accelerator supports it (TRL's default fails on a bare CPU).

    Parameters:
        reward_funcs (`list`, *optional*):
            The reward functions: names, dotted paths, model names, or mappings `{name: ..., weight: ..., ...}`.
        source, allocator, guidance, replay, reward_shaping, advantage, policy_loss (`str` or `dict`, *optional*):
            The parts.
        self_checks (`bool`, *optional*, defaults to `True`):
            Whether to look, before the first step, for what goes wrong silently.
        shared_prefix, shared_prefix_tokens:
            Whether the prompt of a group is computed once, see [`SharedPrefixConfig`].

    Raises:
        InputError: for an unknown part or setting, and for parts or fields that do not go together.
    """

    reward_funcs: list[Any] | None = field(
        default=None,
        metadata={
            "help": "Reward functions: names (`alignkit rewards` lists them), dotted paths (package.module:function), "
            "reward models by Hub name or folder, or mappings {name: ..., weight: ..., settings}."
        },
    )
    reward_deadline: float | None = field(
        default=600.0,
        metadata={
            "help": "Seconds after which a call of a Python reward function that has not returned ends the run, its "
            "checkpoints intact. Valid: above 0, or none."
        },
    )
    source: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Part that chooses the prompts. Default: the data set's order, shuffled."}
    )
    allocator: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Part that shares the completions out. Default: `num_generations` per prompt."}
    )
    guidance: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Part that helps after failed groups. Default: none."}
    )
    replay: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Part that adds stored completions to groups. Default: none."}
    )
    reward_shaping: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Part that changes the rewards of a batch. Default: none."}
    )
    advantage: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Advantage estimator. Default: GRPO's, as `scale_rewards` says."}
    )
    policy_loss: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Loss of a token. Default: TRL's, as `loss_type` says."}
    )
    self_checks: bool = field(
        default=True,
        metadata={
            "help": "Whether to check before the first step that sampler and trainer agree on log-probabilities, that "
            "the adapter is live, that the reference is the intended one and that the rewards are usable."
        },
    )

    # The parts that a method consists of, {slot: name}; their settings are fields of the method's configuration.
    preset: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        default_bf16(self)
        self.check_shared_prefix()
        self.chosen_parts: dict[str, SlotChoice] = choose_parts(self)
        apply_settings(self, self.chosen_parts)
        super().__post_init__()
        check_parts(self, self.chosen_parts)

    @property
    def world_size(self) -> int:
        """The number of processes: those that run, or those that a run is only planned for (`plan_for`)."""
        return planned_processes() or super().world_size

    @property
    def needs_reference(self) -> bool:
        """Whether anything is measured against a frozen reference."""
        return self.beta != 0.0

    def rewards_of(self, given: Any) -> ResolvedRewards:
        """The reward functions of the run; `given` is `reward_funcs`, of this configuration or of the trainer's caller."""
        return weighted_rewards(given, self)

    def check_columns(self, columns: Sequence[str], source: str) -> None:
        """Raise `InputError` where the data set `source` lacks a column that the method reads."""

    def frozen_models(self) -> dict[str, str | None]:
        """Further frozen models that the run reads, {field: folder or Hub name}; None where one is missing."""
        return {}

    def warnings(self) -> list[str]:
        """What will run under this configuration, but perhaps not as meant, one sentence each."""
        return [*warn_of_parts(self, self.chosen_parts), *self._warn_of_sharing()]

    def _warn_of_sharing(self) -> list[str]:
        """What it means to insist on whole groups in every micro-batch."""
        sentences: list[str] = []
        if self.shared_prefix in ("auto", "off") or self.steps_per_generation == 1:
            return sentences
        given = f"`shared_prefix` is {self.shared_prefix!r}"
        if not is_on_policy(self):
            sentences.append(
                f"{given}, which keeps groups whole in the micro-batches: each of the optimizer steps on a generation batch "
                "sees fewer prompts than TRL's shuffle gives it, and its gradient varies more. 'auto' does not do that."
            )
        if self.per_device_train_batch_size % self.num_generations:
            sentences.append(
                f"{given}, but `per_device_train_batch_size` ({self.per_device_train_batch_size}) is no multiple of "
                f"`num_generations` ({self.num_generations}): groups are cut, and each part computes the prompt again."
            )
        return sentences
