"""PreferenceConfig: `trl.DPOConfig` plus what every method of the family shares."""

from dataclasses import dataclass, field, fields
from typing import ClassVar

from trl.trainer.dpo_config import DPOConfig as TRLDPOConfig

from ...objectives.arguments import require_range
from ..devices import default_bf16
from ..shared_prefix.config import SharedPrefixConfig


# Fields that only change the losses of `trl.DPOTrainer`. A method with a loss of its own would ignore them silently.
TRL_LOSS_FIELDS = (
    "loss_weights",
    "label_smoothing",
    "ld_alpha",
    "use_weighting",
    "f_divergence_type",
    "f_alpha_divergence_coef",
    "discopop_tau",
)


@dataclass
class PreferenceConfig(SharedPrefixConfig, TRLDPOConfig):
    r"""Configuration shared by the trainers on preference pairs; everything else is [`trl.DPOConfig`]'s.

    `bf16` defaults to `True` only where an accelerator supports it (TRL's default fails on a bare CPU).

    Parameters:
        sft_weight (`float`, *optional*, defaults to `0.0`):
            Weight of an added SFT term: the mean negative log-likelihood of the tokens of the chosen responses, in
            nats per token. Keeps the chosen likelihood from falling with the rejected one. 0 leaves it out.
        reference_cache_dir (`str`, *optional*):
            Folder where log-probabilities under frozen models are kept across runs, by row of tokens and weights: the
            reference with `precompute_ref_log_probs: true`, and every further frozen model of a method. Left out it is
            `$ALIGNKIT_CACHE/reference_logps`, or `alignkit/reference_logps` in the Hugging Face cache; empty: none.
        shared_prefix, shared_prefix_tokens:
            Whether the prompt of a pair is computed once, see [`SharedPrefixConfig`].
        sync_ref_model, ref_model_mixup_alpha, ...:
            as in [`trl.DPOConfig`].

    Raises:
        ValueError: for a value outside its range, or a field that only TRL's own losses use.
    """

    sft_weight: float = field(
        default=0.0,
        metadata={
            "help": "Weight of an added SFT term: the mean negative log-likelihood of the chosen responses in nats per "
            "token, which keeps their likelihood from falling. Valid: at least 0; 0 leaves it out."
        },
    )
    reference_cache_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder where the log-probabilities of frozen models are kept across runs, by row of tokens and "
            "weights (those of the reference with `precompute_ref_log_probs: true`). Left out: "
            "`$ALIGNKIT_CACHE/reference_logps`, or `alignkit/reference_logps` in the Hugging Face cache. Empty: none."
        },
    )

    # Values of `loss_type` that the method's own loss knows.
    own_loss_types: ClassVar[tuple[str, ...]] = ("sigmoid",)

    def __post_init__(self):
        default_bf16(self)
        super().__post_init__()
        require_range("beta", self.beta, 0.0, low_open=True)
        require_range("sft_weight", self.sft_weight, 0.0)
        self.check_shared_prefix()
        self.check_loss_fields()

    def check_loss_fields(self) -> None:
        """Refuse the loss fields of `trl.DPOConfig` that this method's own loss does not read."""
        name = type(self).__name__
        if len(self.loss_type) != 1 or self.loss_type[0] not in self.own_loss_types:
            raise ValueError(
                f"`loss_type` is {self.loss_type}; {name} has its own loss and takes "
                f"{' or '.join(map(repr, self.own_loss_types))}. TRL's other losses are those of the method `dpo`."
            )
        changed = self.changed_loss_fields()
        if changed:
            raise ValueError(
                f"`{changed[0]}` is {getattr(self, changed[0])!r}, but it only changes TRL's own losses, which {name} "
                "does not use; leave it out, or train the method `dpo`."
            )

    def changed_loss_fields(self) -> list[str]:
        """Names of the fields for TRL's own losses that differ from their default."""
        defaults = {item.name: item.default for item in fields(self)}
        return [name for name in TRL_LOSS_FIELDS if getattr(self, name) != defaults[name]]
