"""The fields of a front beside those of the method's trainer."""

from dataclasses import dataclass, field

from ...objectives.arguments import require_range
from ..preference.modpo import MODPOConfig


@dataclass
class MODPOFrontConfig(MODPOConfig):
    """Configuration of `alignkit front modpo`: MODPO's own, the weights of the points, and how they are measured.

    MODPO's `weights` is set by each point, to (w, 1 - w).
    """

    front_weights: list[float] = field(
        default_factory=lambda: [0.1, 0.3, 0.5, 0.7, 0.9, 1.0],
        metadata={
            "help": "Weights w of the first objective, that of the pairs; the second has 1 - w. Valid: [0, 1]. The paper's "
            "runs use 0.1, 0.5, 0.9; 1 is DPO on the pairs, and 0, by which MODPO's loss would divide, DPO on labels of "
            "the second objective's rewards (ours)."
        },
    )
    eval_judges: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Who scores the responses on each objective, in the order of the weights: 'exact_answer' "
            "(math-verify on the column of the right answer), 'length' (minus the characters), a reward model, or a "
            "judge file (.yaml or .json)."
        },
    )
    answer_column: str = field(default="answer", metadata={"help": "Column of the right answer, for 'exact_answer'."})
    eval_dataset_name: str | None = field(
        default=None, metadata={"help": "Data set of the prompts on which every point is measured."}
    )
    num_eval_prompts: int | None = field(
        default=None, metadata={"help": "Use only its first so many rows. Valid: at least 1."}
    )
    eval_temperature: float = field(
        default=0.0,
        metadata={"help": "Sampling temperature of the measured responses; 0 is greedy. Valid: at least 0."},
    )
    max_completion_length: int = field(
        default=512, metadata={"help": "Longest measured response in tokens. Valid: at least 1."}
    )
    generation_batch_size: int = field(
        default=32, metadata={"help": "Responses sampled at once by transformers. Valid: at least 1."}
    )
    use_vllm: bool = field(
        default=False, metadata={"help": "Sample with vLLM, where it is installed, instead of transformers."}
    )
    reference_point: list[float] | None = field(
        default=None,
        metadata={
            "help": "Reference point of the hypervolume, one score per objective, below all points. Left out: the worst "
            "score of each objective among the points and the base model. Give one to compare fronts."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.front_weights:
            raise ValueError("`front_weights` is empty; give at least one weight in [0, 1].")
        for weight in self.front_weights:
            require_range("front_weights", weight, 0.0, 1.0)
        if len({f"{weight:g}" for weight in self.front_weights}) != len(self.front_weights):
            raise ValueError(f"`front_weights` is {self.front_weights}; two of them are the same.")
        if len(self.eval_judges) != 2:
            raise ValueError(f"`eval_judges` names {len(self.eval_judges)}; expected 2, one for each objective.")
        if self.reference_point is not None and len(self.reference_point) != 2:
            raise ValueError(f"`reference_point` holds {len(self.reference_point)} numbers; expected 2.")
        if not self.eval_dataset_name:
            raise ValueError("`eval_dataset_name` is missing; name the prompts on which the points are measured.")
        for name in ("max_completion_length", "generation_batch_size"):
            require_range(name, getattr(self, name), 1)
        if self.num_eval_prompts is not None:
            require_range("num_eval_prompts", self.num_eval_prompts, 1)
        require_range("eval_temperature", self.eval_temperature, 0.0)

    @property
    def names(self) -> list[str]:
        """Names of the two objectives."""
        return self.objective_names or ["objective_1", "objective_2"]
