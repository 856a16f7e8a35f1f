"""The configuration of PARL's form for language models."""

from dataclasses import dataclass, field

from ...objectives.arguments import require_range
from ...objectives.preference import check_parl
from ...objectives.sampling import check_parl_mixtures
from .config import PreferenceConfig


@dataclass
class PARLConfig(PreferenceConfig):
    """Configuration of [`PARLTrainer`].

    Each pair takes one of four routes: 0, the pair of the data set as it is (DPO); DDP, that pair with a label that the
    policy draws; DPP, two responses of the policy that it labels itself; DPR, two responses of the policy that a judge
    labels. The defaults mix DDP with DPO, which needs neither generation nor judge.

    Raises:
        ValueError: for shares that sum to more than 1, and for a value outside its range.
    """

    ddp_mixture: float = field(
        default=0.4,
        metadata={
            "help": "Share of pairs on route DDP (label drawn by the policy). Valid: [0, 1], the three at most 1."
        },
    )
    dpp_mixture: float = field(
        default=0.0,
        metadata={
            "help": "Share of pairs on route DPP (responses and label from the policy); 0.3 in the authors' code, as the "
            "only route. Valid: [0, 1], the three at most 1."
        },
    )
    dpr_mixture: float = field(
        default=0.0,
        metadata={
            "help": "Share of pairs on route DPR (responses from the policy, label from `judge`); 0.3 in the authors' "
            "code, as the only route. Valid: [0, 1], the three at most 1."
        },
    )
    ddp_coef: float = field(
        default=0.2,
        metadata={"help": "Weight of the gradient through the label on route DDP; 1 is exact. Valid: at least 0."},
    )
    dpp_coef: float = field(
        default=0.2,
        metadata={
            "help": "Weight of the gradient through label and responses on route DPP; 1 is exact. Valid: at least 0."
        },
    )
    dpr_coef: float = field(
        default=0.3,
        metadata={
            "help": "Weight of the gradient through the responses on route DPR; 1 is exact, 0 is online DPO. Valid: at "
            "least 0."
        },
    )
    score_baseline: str = field(
        default="none",
        metadata={
            "help": "'batch': subtract the batch's mean log-likelihood in the gradient through the responses, for less "
            "variance (ours); 'none': as derived."
        },
    )
    temperature: float = field(
        default=0.9,
        metadata={
            "help": "Sampling temperature of the policy's responses, as in the authors' code; at 1 they are drawn from "
            "the policy that the gradient is of. Valid: above 0."
        },
    )
    max_completion_length: int = field(
        default=512, metadata={"help": "Longest response of the policy in tokens. Valid: at least 1."}
    )
    prompts_per_generation: int = field(
        default=24,
        metadata={"help": "Prompts per process that are collected before the policy answers them. Valid: at least 1."},
    )
    generation_reuse: int = field(
        default=1, metadata={"help": "How often a pair of the policy is trained on. Valid: at least 1."}
    )
    generation_batch_size: int = field(default=32, metadata={"help": "Responses sampled at once. Valid: at least 1."})
    judge: str | None = field(
        default=None,
        metadata={
            "help": "Who labels on route DPR: 'exact_answer' (math-verify on the column of the right answer), 'length', "
            "the name or folder of a reward model, or a judge file (.yaml or .json)."
        },
    )
    answer_column: str = field(
        default="answer", metadata={"help": "Column of the right answer, for the judge 'exact_answer'."}
    )

    @property
    def generates(self) -> bool:
        """Whether any route samples from the policy."""
        return self.dpp_mixture + self.dpr_mixture > 0

    def __post_init__(self):
        super().__post_init__()
        check_parl(self.beta, self.ddp_coef, self.dpp_coef, self.dpr_coef, self.score_baseline)
        check_parl_mixtures(self.ddp_mixture, self.dpp_mixture, self.dpr_mixture)
        require_range("temperature", self.temperature, 0.0, low_open=True)
        for name in ("max_completion_length", "prompts_per_generation", "generation_reuse", "generation_batch_size"):
            require_range(name, getattr(self, name), 1)
        if self.dpr_mixture > 0 and not self.judge:
            raise ValueError(
                f"`dpr_mixture` is {self.dpr_mixture:g}, but `judge` is missing; name 'exact_answer', a reward model or a "
                "judge file."
            )
        if self.judge and self.dpr_mixture == 0:
            raise ValueError(
                f"`judge` is {self.judge!r}, but no pair takes route DPR; set `dpr_mixture`, or leave judge out."
            )
        if self.generates and self.precompute_ref_log_probs:
            raise ValueError(
                "`precompute_ref_log_probs` cannot be set where the policy's own responses are trained on (`dpp_mixture`, "
                "`dpr_mixture`): the reference has not seen them; set it to false."
            )
        if self.generates and self.max_length is not None and self.max_completion_length >= self.max_length:
            raise ValueError(
                f"`max_completion_length` is {self.max_completion_length} and `max_length` {self.max_length}, which leaves "
                "no room for a prompt; raise max_length or lower max_completion_length."
            )
