"""The fields of every staged run that samples responses."""

from dataclasses import dataclass, field

from ...objectives.arguments import require_range


@dataclass
class SamplingFields:
    """Mixin of configurations: how responses are drawn and how many at once."""

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
        default=512, metadata={"help": "Longest response in tokens. Valid: at least 1."}
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

    def check_sampling(self) -> None:
        """Raise `ValueError` for a value outside its range."""
        require_range("max_completion_length", self.max_completion_length, 1)
        require_range("generation_batch_size", self.generation_batch_size, 1)
        require_range("temperature", self.temperature, 0.0, low_open=True)
        require_range("top_p", self.top_p, 0.0, 1.0, low_open=True)
        require_range("top_k", self.top_k, 0)
        require_range("vllm_gpu_memory_utilization", self.vllm_gpu_memory_utilization, 0.0, 1.0, low_open=True)
