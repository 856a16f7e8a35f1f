"""The vLLM backend, for those who have it installed (`pip install "alignkit[vllm]"`)."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from .prompts import Prompt, encode_prompt, load_tokenizer, stop_token_ids
from .sources import ModelSource
from .types import Generation, LoadOptions, SamplingParams, derive_seed


# Prompts handed to the engine at once: it batches by itself; between two chunks finished work is on disk.
CHUNK_SIZE = 512
# The ranks that vLLM has kernels for.
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class VLLMGenerator:
    """Generates with a vLLM engine; an adapter is applied as a LoRA request on its base."""

    def __init__(
        self,
        engine: Any,
        tokenizer: Any,
        stop_ids: list[int],
        lora_request: Any = None,
        chat_template_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.stop_ids = stop_ids
        self.lora_request = lora_request
        self.chat_template_kwargs = chat_template_kwargs

    @classmethod
    def from_source(cls, source: ModelSource, options: LoadOptions) -> "VLLMGenerator":
        """Start an engine for `source`. Raises `InputError` where vLLM is not installed."""
        try:
            import vllm
        except ImportError as error:
            raise InputError(
                'backend vllm is not installed: pip install "alignkit[vllm]", or use --backend transformers'
            ) from error
        tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
        arguments: dict[str, Any] = {
            "model": source.model_path,
            "revision": source.model_revision,
            "tokenizer": source.tokenizer_path,
            "tokenizer_revision": source.tokenizer_revision,
            "dtype": options.dtype,
            "trust_remote_code": options.trust_remote_code,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            # Not the model's own sampling defaults: SamplingParams alone decides, as in the other backend.
            "generation_config": "vllm",
        }
        if options.load_in_4bit:
            arguments["quantization"] = "bitsandbytes"
        lora_request = None
        if source.is_adapter:
            from vllm.lora.request import LoRARequest

            folder = adapter_folder(source)
            arguments |= {"enable_lora": True, "max_lora_rank": lora_rank(folder)}
            lora_request = LoRARequest(source.name, 1, str(folder))
        arguments |= options.vllm_kwargs or {}
        stop_ids = stop_token_ids(tokenizer, generation_config(source))
        return cls(vllm.LLM(**arguments), tokenizer, stop_ids, lora_request, options.chat_template_kwargs)

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, seeds: Sequence[int] | None = None
    ) -> Iterator[Generation]:
        """Yield one `Generation` per prompt, in order."""
        import vllm

        seeds = [derive_seed(sampling.seed, index) for index in range(len(prompts))] if seeds is None else seeds
        for start in range(0, len(prompts), CHUNK_SIZE):
            chunk = range(start, min(start + CHUNK_SIZE, len(prompts)))
            tokens = [
                {"prompt_token_ids": encode_prompt(self.tokenizer, prompts[index], self.chat_template_kwargs)}
                for index in chunk
            ]
            params = [
                vllm.SamplingParams(
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    top_k=sampling.top_k,
                    max_tokens=sampling.max_new_tokens,
                    seed=None if sampling.greedy else seeds[index],
                    stop_token_ids=self.stop_ids,
                )
                for index in chunk
            ]
            outputs = self.engine.generate(tokens, params, lora_request=self.lora_request, use_tqdm=False)
            for index, output in zip(chunk, outputs, strict=True):
                completion = output.outputs[0]
                reason = "length" if completion.finish_reason == "length" else "stop"
                yield Generation(index, completion.text, tuple(completion.token_ids), reason)

    def close(self) -> None:
        """Drop the engine and give its memory back."""
        import gc

        self.engine = None
        gc.collect()


def adapter_folder(source: ModelSource) -> Path:
    """The adapter's local folder; one on the Hub is downloaded."""
    if Path(source.path).is_dir():
        return Path(source.path)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source.path, revision=source.revision))


def lora_rank(folder: Path) -> int:
    """The smallest rank with a kernel that holds the adapter's largest rank."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA":
        raise InputError(
            f"adapter {folder} has peft_type {config.get('peft_type')!r}, and vLLM applies LORA only: use --backend "
            "transformers or merge the adapter"
        )
    rank = max([config["r"], *config.get("rank_pattern", {}).values()])
    fitting = [kernel for kernel in LORA_RANKS if kernel >= rank]
    if not fitting:
        raise InputError(f"adapter {folder} has rank {rank}, above vLLM's largest ({LORA_RANKS[-1]}): merge it")
    return fitting[0]


def generation_config(source: ModelSource) -> Any:
    """The model's generation config, for its end-of-sequence tokens; None where it ships none."""
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(source.model_path, revision=source.model_revision)
    except OSError:
        return None
