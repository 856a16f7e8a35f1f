"""The fields that every loop has beside those of its method's trainer."""

import os
from dataclasses import dataclass, field

from ...objectives.arguments import require_range


@dataclass
class LoopFields:
    """Mixin of the loop configurations; the other base is the configuration of the method's trainer.

    The trainer's `seed` is the base seed of the loop, and its `output_dir` the folder of the run.
    """

    num_iterations: int = field(
        default=3, metadata={"help": "Iterations T; each uses its own share of the prompts. Valid: at least 1."}
    )
    num_generations: int = field(
        default=5, metadata={"help": "Responses K sampled for each prompt. Valid: at least 2."}
    )
    temperature: float = field(
        default=1.0, metadata={"help": "Sampling temperature of the responses. Valid: above 0."}
    )
    top_p: float = field(
        default=1.0, metadata={"help": "Sample from the most likely tokens of this total probability. Valid: (0, 1]."}
    )
    top_k: int = field(
        default=0, metadata={"help": "Sample from this many most likely tokens; 0 means all. Valid: at least 0."}
    )
    max_completion_length: int = field(
        default=512,
        metadata={
            "help": "Longest response in tokens. One that is cut there is left out of the pairs. Valid: at least 1."
        },
    )
    generation_batch_size: int = field(
        default=32, metadata={"help": "Responses sampled at once by transformers. Valid: at least 1."}
    )
    use_vllm: bool = field(
        default=False, metadata={"help": "Sample with vLLM, where it is installed, instead of transformers."}
    )
    vllm_gpu_memory_utilization: float = field(
        default=0.9, metadata={"help": "Share of the GPU memory that vLLM takes while it samples. Valid: (0, 1]."}
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
        for name in ("num_iterations", "max_completion_length", "generation_batch_size", "judge_batch_size"):
            require_range(name, getattr(self, name), 1)
        require_range("num_eval_prompts", self.num_eval_prompts, 1)
        require_range("num_processes", self.num_processes, 1)
        if self.accelerate_config is not None and not os.path.isfile(self.accelerate_config):
            raise ValueError(f"`accelerate_config` is {self.accelerate_config!r}: there is no such file.")
        require_range("temperature", self.temperature, 0.0, low_open=True)
        require_range("top_p", self.top_p, 0.0, 1.0, low_open=True)
        require_range("top_k", self.top_k, 0)
        require_range("vllm_gpu_memory_utilization", self.vllm_gpu_memory_utilization, 0.0, 1.0, low_open=True)
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
