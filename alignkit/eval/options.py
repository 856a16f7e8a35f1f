"""What a user can set about an evaluation. The only home of these defaults; the command line's flags are made of them."""

from dataclasses import asdict, dataclass, field
from typing import Any

from alignkit.errors import InputError
from alignkit.generation.types import BACKENDS, DTYPES


def option(default: Any, help: str, **metadata: Any) -> Any:
    """A dataclass field with its help text (and argparse keywords)."""
    return field(default=default, metadata={"help": help, **metadata})


@dataclass(frozen=True)
class EvalOptions:
    """Options of an evaluation. None means: as the suite says."""

    limit: int | None = option(None, "evaluate the first N items only", metavar="N", type=int)
    n_samples: int | None = option(None, "completions per item (default: the suite's)", metavar="N", type=int)
    max_new_tokens: int | None = option(None, "tokens per completion (default: the suite's)", metavar="N", type=int)
    temperature: float | None = option(None, "0 is greedy (default: the suite's)", metavar="T", type=float)
    top_p: float | None = option(None, "nucleus mass (default: the suite's)", metavar="P", type=float)
    top_k: int | None = option(
        None, "keep the K likeliest tokens, 0 all (default: the suite's)", metavar="K", type=int
    )
    seed: int = option(0, "seed of the sampling", metavar="N", type=int)
    protocol: str | None = option(
        None, "how the question is put: bare, boxed-cot, qwen25-math (default: the suite's)", metavar="NAME"
    )
    data: str | None = option(None, "the suite's data from this .jsonl, .jsonl.gz or .json file", metavar="FILE")
    backend: str = option("transformers", "what generates", choices=BACKENDS)
    batch_size: int = option(32, "completions generated at once (transformers backend)", metavar="N", type=int)
    dtype: str = option("auto", "auto: float32 on CPU, bfloat16 on an accelerator", choices=DTYPES)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", metavar="DEVICE")
    load_in_4bit: bool = option(False, "quantise the base model to NF4 (bitsandbytes)", action="store_true")
    base_model: str | None = option(None, "use this base for adapters instead of the one they name", metavar="MODEL")
    chat_template: str | None = option(None, "a Jinja file to use instead of the model's template", metavar="FILE")
    chat_template_kwargs: dict[str, Any] | None = field(
        default=None,
        metadata={"help": "variables for the chat template: '{\"enable_thinking\": false}'", "metavar": "JSON"},
    )
    trust_remote_code: bool = option(False, "run code that comes with a model", action="store_true")
    gpu_memory_utilization: float = option(0.9, "share of the GPU that vLLM takes", metavar="SHARE", type=float)
    vllm_kwargs: dict[str, Any] | None = field(
        default=None,
        metadata={
            "help": 'further arguments of vllm.LLM: \'{"tensor_parallel_size": 2, "data_parallel_size": 4}\'',
            "metavar": "JSON",
        },
    )
    tolerance: float | None = option(
        None,
        "also accept numbers within this relative distance of the gold (default: the suite's)",
        type=float,
        metavar="REL",
    )
    num_workers: int | None = option(
        None, "grading processes (default: one per core, 8 at most)", metavar="N", type=int
    )
    deadline: float = option(
        10.0, "seconds of processor time that grading one answer may take", metavar="S", type=float
    )
    judge: str | None = option(
        None,
        "who judges (judged suites): official, endpoint:MODEL[@URL], a judge file (.yaml, .json) or a reward model",
        metavar="SPEC",
    )
    concurrency: int | None = option(
        None,
        "most requests to an endpoint (model or judge) in flight (default: its file's, 16)",
        metavar="N",
        type=int,
    )
    max_cost: float | None = option(
        None,
        "most money that the records of --out may cost, answers of an endpoint and judging, in the currency of the prices",
        metavar="SUM",
        type=float,
    )
    gamed: str | None = option(
        None, "AlpacaEval 2: df_gamed.csv (default: the Hub's, else a flagged fallback)", metavar="FILE"
    )
    difficulty: str | None = option(
        None, "AlpacaEval 2: instruction_difficulty.csv (default: as for --gamed)", metavar="FILE"
    )
    engine: str = option(
        "alignkit",
        "AlpacaEval 2: official lets the alpaca-eval package judge and score the same answers, in a process of its own",
        choices=("alignkit", "official"),
    )
    task_folder: str | None = option(None, "lm_eval: a folder of further task files", metavar="DIR")
    num_fewshot: int | None = option(
        None, "lm_eval: examples in the prompt (default: the task's)", metavar="N", type=int
    )
    no_chat_template: bool = option(
        False, "lm_eval: give prompts as they are, not through the model's chat template", action="store_true"
    )
    scorer: str | None = option(
        None,
        "who scores the images: shapes (the bundled ones), clip[:MODEL], pickscore[:MODEL] (default: shapes)",
        metavar="NAME[:MODEL]",
    )
    num_inference_steps: int | None = option(None, "sampling steps of an image (default: 25)", metavar="N", type=int)
    guidance_scale: float | None = option(
        None, "classifier-free guidance, 1 is none (default: 7.5)", metavar="G", type=float
    )
    resolution: int | None = option(
        None, "height and width of the images in pixels (default: the pipeline's)", metavar="N", type=int
    )
    allow_missing: bool = option(
        False, "score although the judge gave no reply to some items (they are counted)", action="store_true"
    )
    num_resamples: int = option(10_000, "bootstrap resamples behind an interval", metavar="N", type=int)
    confidence: float = option(0.95, "coverage of the intervals", metavar="SHARE", type=float)
    num_examples: int = option(12, "sample outputs shown in the report", metavar="N", type=int)

    def __post_init__(self) -> None:
        least_values = {
            "limit": 1,
            "n_samples": 1,
            "num_resamples": 100,
            "num_examples": 0,
            "concurrency": 1,
            "resolution": 8,
        }
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}: it must be at least {least}")
        if self.max_cost is not None and not self.max_cost >= 0:
            raise InputError(f"max_cost is {self.max_cost}: it must be 0 or more")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence is {self.confidence}: it must be between 0 and 1, such as 0.95")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
