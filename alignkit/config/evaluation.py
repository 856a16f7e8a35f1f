"""What a training run measures beside its own metrics."""

from dataclasses import dataclass, field


@dataclass
class EvaluationConfig:
    """Graded suites that the model answers while it is trained. Read by what starts a training: `alignkit.cli`."""

    eval_suite: str | None = field(
        default=None,
        metadata={
            "help": "Maths suites to measure while training, NAME or NAME:ITEMS with commas between several: math500:50. "
            "The model's greedy answers to the first ITEMS questions are graded before the first step, at every evaluation "
            "(with eval_strategy: no, every `eval_steps` steps, or, without those, at every save) and at the end, and "
            "logged as eval_NAME/accuracy. No evaluation data set is needed. `per_device_eval_batch_size` questions are "
            "answered at once. `alignkit eval suites` lists the names."
        },
    )
    eval_suite_max_new_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Most tokens of an answer to `eval_suite`; default: the suite's own, 2048 and more, which a model that "
            "does not stop uses up. With fewer, more answers are cut off (eval_NAME/truncated), and the figure is not the "
            "suite's."
        },
    )
