"""What goes into a generator and what comes out of it. No heavy imports."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from alignkit.errors import InputError

from .prompts import Prompt


BACKENDS = ("transformers", "vllm")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn: `temperature` 0 is greedy; `top_p` in (0, 1]; `top_k` 0 keeps all tokens.

    `seed` is the seed of the whole run; every completion has its own, made of it by `derive_seed`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature is {self.temperature}: it must be 0 (greedy) or positive")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}: it must be in (0, 1]")
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}: it must be 0 (all tokens) or positive")
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {self.max_new_tokens}: it must be at least 1")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    `dtype` "auto" is float32 on CPU and bfloat16 on an accelerator; `device` "auto" is the first accelerator, else the
    CPU; `load_in_4bit` quantises the base to NF4 (bitsandbytes); `base_model` replaces the base that an adapter names;
    `chat_template` is the text of a Jinja template that replaces the tokenizer's own; `vllm_kwargs` are further
    arguments of `vllm.LLM`, such as `tensor_parallel_size`.
    """

    backend: str = "transformers"
    dtype: str = "auto"
    device: str = "auto"
    load_in_4bit: bool = False
    base_model: str | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    trust_remote_code: bool = False
    batch_size: int = 32
    gpu_memory_utilization: float = 0.9
    vllm_kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"backend is {self.backend!r}: it must be one of {', '.join(BACKENDS)}")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype is {self.dtype!r}: it must be one of {', '.join(DTYPES)}")
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}: it must be at least 1")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise InputError(f"gpu_memory_utilization is {self.gpu_memory_utilization}: it must be in (0, 1]")


@dataclass(frozen=True)
class Generation:
    """One completion of `prompts[index]`.

    `token_ids` are the generated tokens without padding, the end-of-sequence token included where there is one;
    `finish_reason` is "stop" (an end-of-sequence token) or "length" (cut off: truncated).
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str

    @property
    def n_tokens(self) -> int:
        return len(self.token_ids)


class Generator(Protocol):
    """A loaded model that completes prompts."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, seeds: Sequence[int] | None = None
    ) -> Iterator[Generation]:
        """Yield one `Generation` per prompt, in the order in which they are finished.

        `seeds` holds one seed per prompt (used when sampling; default: derived from `sampling.seed` and the index), so
        that a completion does not depend on which other prompts are in the call.
        """
        ...

    def close(self) -> None:
        """Release the model's memory."""
        ...


def derive_seed(seed: int, *parts: object) -> int:
    """The seed (63 bits) of one completion: a hash of the run's seed and what names the completion."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
