"""The configuration of direct advantage: the whole pipeline, and its two trainers."""

from dataclasses import dataclass, field, fields
from typing import Any

from trl.trainer.base_config import _BaseConfig

from ...objectives.advantages import check_direct_advantage_gap
from ...objectives.arguments import require_range
from ...objectives.policy import check_direct_advantage
from ..devices import default_bf16
from ..iterative.sampling_fields import SamplingFields
from ..preference.config import PreferenceConfig


@dataclass
class DirectAdvantageConfig(SamplingFields, _BaseConfig):
    """Configuration of direct advantage (`alignkit loop direct_advantage`).

    The fields that both trainers share (batch size, steps, ...) are given to both; `critic` and `actor` hold what is to
    differ in one of them. What neither gives stays at that trainer's own default. `seed` is the base seed of the run.
    """

    num_iterations: int = field(
        default=1,
        metadata={
            "help": "Iterations: each starts from the policy of the last one, which is then the reference; the critic is "
            "trained on. Table 4 of the paper has 2. Valid: at least 1."
        },
    )
    num_prompts: int | None = field(
        default=None,
        metadata={"help": "Use only the first so many prompts of the data set. Valid: at least 1."},
    )
    num_generations: int = field(
        default=32, metadata={"help": "Responses sampled for each problem. Valid: at least 1."}
    )
    num_kept: int = field(
        default=6,
        metadata={
            "help": "Responses kept of those, as many right as wrong ones where there are; the text after each of their "
            "steps is a state. Valid: 1 to num_generations."
        },
    )
    num_completions: int = field(
        default=16,
        metadata={
            "help": "Completions drawn from each state: their share of right answers is its value, their first steps are "
            "the candidate actions. 8 is nearly as good in the paper. Valid: at least 2."
        },
    )
    step_delimiter: str = field(
        default="\n",
        metadata={"help": "Text that ends a step; the token that completes it is the step's last. Valid: not empty."},
    )
    max_completion_length: int = field(
        default=2048,
        metadata={
            "help": "Longest response in tokens, the state's steps included. One that is cut there is scored as it is. "
            "Valid: at least 1."
        },
    )
    reward: str | None = field(
        default=None,
        metadata={
            "help": "Who says whether a response is right, in [0, 1]: 'exact_answer' (math-verify on the column of the "
            "right answer), or a judge file (.yaml or .json) of a judge with such scores."
        },
    )
    answer_column: str = field(
        default="answer", metadata={"help": "Column of the right answer, for the reward 'exact_answer'."}
    )
    beta: float = field(
        default=0.01,
        metadata={
            "help": "KL weight: the log-ratio of a step is drawn to advantage / beta nats. The paper uses 0.01 or 0.02 "
            "and sweeps 0.002 to 0.1. Valid: above 0."
        },
    )
    min_gap: float = field(
        default=0.1,
        metadata={
            "help": "A state is trained on if its best and worst candidates differ by at least so much. Valid: at least 0."
        },
    )
    critic_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "What the critic starts from: a language model or a reward model that reads the policy's tokens. "
            "Left out, it is the policy's base model."
        },
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run the code that comes with a model on the Hub."}
    )
    critic: dict[str, Any] = field(
        default_factory=dict,
        metadata={"help": "Fields of the critic's trainer alone, e.g. {learning_rate: 5.0e-6}."},
    )
    actor: dict[str, Any] = field(
        default_factory=dict,
        metadata={"help": "Fields of the policy's trainer alone, e.g. {learning_rate: 5.0e-7}."},
    )

    def __post_init__(self):
        default_bf16(self)
        super().__post_init__()
        self.check_sampling()
        check_direct_advantage(self.beta)
        check_direct_advantage_gap(self.min_gap)
        for name in ("num_iterations", "num_generations"):
            require_range(name, getattr(self, name), 1)
        require_range("num_kept", self.num_kept, 1, self.num_generations)
        require_range("num_completions", self.num_completions, 2)
        if self.num_prompts is not None:
            require_range("num_prompts", self.num_prompts, 1)
        if not self.step_delimiter:
            raise ValueError("`step_delimiter` is empty; give the text that ends a step, e.g. a line break.")
        if not self.reward:
            raise ValueError("`reward` is missing; name 'exact_answer' or a judge file.")


@dataclass
class StepCriticConfig(_BaseConfig):
    """Configuration of [`StepCriticTrainer`]: that of `transformers.TrainingArguments` with the paper's values.

    `bf16` defaults to `True` only where an accelerator supports it.
    """

    learning_rate: float = field(default=5e-6, metadata={"help": "Learning rate of the critic."})
    num_train_epochs: float = field(default=1.0, metadata={"help": "Passes over the states."})

    def __post_init__(self):
        default_bf16(self)
        super().__post_init__()


@dataclass
class StepActorConfig(PreferenceConfig):
    """Configuration of [`StepActorTrainer`]: what of [`PreferenceConfig`] does not need pairs.

    Raises `ValueError` for a field of the pairs' trainers that is not read here.
    """

    beta: float = field(
        default=0.01,
        metadata={"help": "KL weight: the log-ratio of a step is drawn to advantage / beta nats. Valid: above 0."},
    )
    learning_rate: float = field(default=5e-7, metadata={"help": "Learning rate of the policy."})
    max_length: int | None = field(
        default=None, metadata={"help": "Not read: a step cut off would have another log-probability."}
    )
    precompute_ref_log_probs: bool = field(
        default=True, metadata={"help": "Always: the reference is the policy that training starts from."}
    )

    def __post_init__(self):
        super().__post_init__()
        check_direct_advantage(self.beta)
        defaults = {item.name: item.default for item in fields(self)}
        for name in ("max_length", "precompute_ref_log_probs", "sft_weight", "sync_ref_model", "truncation_mode"):
            if getattr(self, name) != defaults[name]:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)!r}, which {type(self).__name__} does not read; leave it out."
                )
