"""The fields that every loop has beside those of its method's trainer."""

import os
from dataclasses import dataclass, field

from ...objectives.arguments import require_range
from .sampling_fields import SamplingFields


@dataclass
class LoopFields(SamplingFields):
    """Mixin of the loop configurations; the other base is the configuration of the method's trainer.

    The trainer's `seed` is the base seed of the loop, and its `output_dir` the folder of the run.
    """

    num_iterations: int = field(
        default=3, metadata={"help": "Iterations T; each uses its own share of the prompts. Valid: at least 1."}
    )
    num_generations: int = field(
        default=5, metadata={"help": "Responses K sampled for each prompt. Valid: at least 2."}
    )
    max_completion_length: int = field(
        default=512,
        metadata={
            "help": "Longest response in tokens. One that is cut there is left out of the pairs. Valid: at least 1."
        },
    )
    judge: str | None = field(
        default=None,
        metadata={
            "help": "Who judges the responses: 'exact_answer' (math-verify on the column of the right answer), the name "
            "or folder of a reward model, or a judge file (.yaml or .json)."
        },
    )
    answer_column: str = field(
        default="answer", metadata={"help": "Column of the right answer, for the judge 'exact_answer'."}
    )
    judge_batch_size: int = field(
        default=64,
        metadata={"help": "Prompts judged before the verdicts are written to disk. Valid: at least 1."},
    )
    num_prompts: int | None = field(
        default=None,
        metadata={"help": "Use only this many prompts of the data set, drawn at random. Valid: at least 1."},
    )
    num_eval_prompts: int = field(
        default=64,
        metadata={
            "help": "Prompts on which every policy is compared with the one before and the first; held out of the data "
            "set unless eval_dataset_name is given. Valid: at least 1."
        },
    )
    eval_dataset_name: str | None = field(
        default=None, metadata={"help": "Data set of the evaluation prompts (its first num_eval_prompts rows)."}
    )
    eval_temperature: float | None = field(
        default=None,
        metadata={
            "help": "Sampling temperature of the evaluation; left out it is `temperature`, 0 is greedy (the logged KL is "
            "then the mean log-ratio of the greedy responses). Valid: at least 0."
        },
    )
    num_processes: int = field(
        default=1,
        metadata={
            "help": "Processes that train together, started by `accelerate launch`; sampling, judging and the reference "
            "log-probabilities stay in one. The batch of an update grows with it. Valid: at least 1."
        },
    )
    accelerate_config: str | None = field(
        default=None,
        metadata={
            "help": "Config file of accelerate for these processes (DeepSpeed, FSDP, several machines); its number of "
            "processes is replaced by num_processes."
        },
    )
    keep_checkpoints: bool = field(
        default=False,
        metadata={
            "help": "Keep the model of every iteration. Otherwise only those that the loop still needs are kept: the "
            "current and the last one, and the best."
        },
    )

    def __post_init__(self):
        super().__post_init__()  # type: ignore[misc]  # the trainer's configuration, the other base
        self.check_sampling()
        require_range("num_iterations", self.num_iterations, 1)
        require_range("judge_batch_size", self.judge_batch_size, 1)
        require_range("num_eval_prompts", self.num_eval_prompts, 1)
        require_range("num_processes", self.num_processes, 1)
        if self.accelerate_config is not None and not os.path.isfile(self.accelerate_config):
            raise ValueError(f"`accelerate_config` is {self.accelerate_config!r}: there is no such file.")
        if self.num_prompts is not None:
            require_range("num_prompts", self.num_prompts, 1)
        if self.eval_temperature is not None:
            require_range("eval_temperature", self.eval_temperature, 0.0)
        if not self.judge:
            raise ValueError(
                "`judge` is missing; name 'exact_answer', a reward model or a judge file (.yaml or .json)."
            )
        self.check_num_generations()

    def check_num_generations(self) -> None:
        """Refuse a number of responses from which no pair can be made."""
        require_range("num_generations", self.num_generations, 2)
