"""The transformers backend: length-sorted, left-padded batches."""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch

from alignkit.errors import InputError

from .prompts import Prompt, encode_prompt, first_line, load_tokenizer, stop_token_ids
from .sampling import SeededSampler
from .sources import ModelSource
from .types import Generation, LoadOptions, SamplingParams, derive_seed


logger = logging.getLogger(__name__)


class TransformersGenerator:
    """Generates with a loaded transformers model (or PEFT model) and its tokenizer.

    The model's own sampling defaults (temperature, top-k, repetition penalty in `generation_config.json`) are not
    used: what `SamplingParams` says is what is done. Its end-of-sequence tokens are.
    """

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: int = 32, chat_template_kwargs: dict[str, Any] | None = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.chat_template_kwargs = chat_template_kwargs
        self.stop_ids = stop_token_ids(tokenizer, getattr(model, "generation_config", None))
        config = model.config.get_text_config()
        self.max_positions: int | None = getattr(config, "max_position_embeddings", None)

    @classmethod
    def from_source(cls, source: ModelSource, options: LoadOptions) -> "TransformersGenerator":
        """Load base, quantisation and adapter as `source` and `options` say."""
        tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
        model = load_model(source, options, vocabulary_size=len(tokenizer))
        return cls(model, tokenizer, options.batch_size, options.chat_template_kwargs)

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingParams, seeds: Sequence[int] | None = None
    ) -> Iterator[Generation]:
        """Yield one `Generation` per prompt, longest prompts first (so that lack of memory shows at once)."""
        encoded = [encode_prompt(self.tokenizer, prompt, self.chat_template_kwargs) for prompt in prompts]
        seeds = [derive_seed(sampling.seed, index) for index in range(len(prompts))] if seeds is None else seeds
        for index, ids in enumerate(encoded):
            if not ids:
                raise InputError(f"prompt {index} (counted from 0) is empty")
            if self.max_positions is not None and len(ids) >= self.max_positions:
                raise InputError(
                    f"prompt {index} (counted from 0) has {len(ids)} tokens, but the model reads at most "
                    f"{self.max_positions - 1} and one more to write"
                )
        was_training = self.model.training
        self.model.eval()
        try:
            for batch, budget in self._batches(encoded, sampling):
                yield from self._generate_batch(
                    [encoded[index] for index in batch], batch, budget, sampling, [seeds[index] for index in batch]
                )
        finally:
            self.model.train(was_training)

    def _batches(self, encoded: list[list[int]], sampling: SamplingParams) -> Iterator[tuple[list[int], int]]:
        """Yield (indices, tokens that may be generated), longest prompts first.

        A prompt that leaves less room in the context than `max_new_tokens` shares a batch only with its equals, so
        that no row's limit depends on its neighbours.
        """

        def budget(index: int) -> int:
            room = sampling.max_new_tokens if self.max_positions is None else self.max_positions - len(encoded[index])
            return min(sampling.max_new_tokens, room)

        order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index]))
        for tokens, group in groupby(order, key=budget):
            indices = list(group)
            for start in range(0, len(indices), self.batch_size):
                yield indices[start : start + self.batch_size], tokens

    @torch.inference_mode()
    def _generate_batch(
        self, prompts: list[list[int]], indices: list[int], budget: int, sampling: SamplingParams, seeds: list[int]
    ) -> list[Generation]:
        from transformers import GenerationConfig, LogitsProcessorList

        width = max(len(ids) for ids in prompts)
        pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.stop_ids[0]
        input_ids = torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        device = self.model.get_input_embeddings().weight.device
        config = GenerationConfig(
            max_new_tokens=budget, do_sample=False, eos_token_id=self.stop_ids or None, pad_token_id=pad
        )
        processors = LogitsProcessorList([] if sampling.greedy else [SeededSampler(sampling, seeds)])
        # `generate` fills what a config leaves open from the model's own, so that one is put aside meanwhile.
        own_config, self.model.generation_config = self.model.generation_config, config
        try:
            output = self.model.generate(
                input_ids=input_ids.to(device),
                attention_mask=mask.to(device),
                generation_config=config,
                logits_processor=processors,
            )
        finally:
            self.model.generation_config = own_config
        return [self._trim(index, row) for index, row in zip(indices, output[:, width:].tolist(), strict=True)]

    def _trim(self, index: int, tokens: list[int]) -> Generation:
        """Cut a row at its first end-of-sequence token, which is kept."""
        end = next((place for place, token in enumerate(tokens) if token in self.stop_ids), None)
        tokens = tokens if end is None else tokens[: end + 1]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return Generation(index, text, tuple(tokens), "length" if end is None else "stop")

    def close(self) -> None:
        """Drop the model and give its memory back."""
        self.model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def load_model(source: ModelSource, options: LoadOptions, vocabulary_size: int) -> Any:
    """Load the full model, or base (4-bit if asked) plus adapter, ready for inference."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.model_path,
            revision=source.model_revision,
            dtype=dtype,
            device_map={"": device},
            quantization_config=quantization if options.load_in_4bit else None,
            trust_remote_code=options.trust_remote_code,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"model {source.model_path} cannot be loaded: {first_line(error)}") from error
    if options.load_in_4bit and device == "cpu":
        avoid_packed_kernel(model)
    if source.is_adapter:
        from peft import PeftModel

        if vocabulary_size > model.get_input_embeddings().weight.shape[0]:
            model.resize_token_embeddings(vocabulary_size)
        try:
            model = PeftModel.from_pretrained(model, source.path, revision=source.revision)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"adapter {source.path} does not fit its base {source.model_path}: {first_line(error)}"
            ) from error
    return model.eval()


def avoid_packed_kernel(model: Any, trained: bool = False) -> None:
    """Keep bitsandbytes' packed CPU kernel off the layers it cannot pack, or, of a model that is `trained`, off all.

    On processors with AVX512-BF16 it repacks a 4-bit layer at its first forward pass in eval mode, and crashes where
    the layer is not a whole number of its blocks (32 outputs, 64 inputs), as in tiny models. The repacked layer has no
    gradient: after one evaluation, nothing would reach the adapters below it.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit) and (trained or module.out_features % 32 or module.in_features % 64):
            module.support_avx512bf16_for_cpu = False


def pick_device(name: str) -> str:
    """`auto` is this process's accelerator (the first, unless a launcher chose another), else the CPU."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return f"cuda:{torch.cuda.current_device()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def pick_dtype(name: str, device: str) -> torch.dtype:
    """`auto` is float32 on CPU and bfloat16 elsewhere."""
    if name == "auto":
        name = "float32" if device == "cpu" else "bfloat16"
    return getattr(torch, name)
