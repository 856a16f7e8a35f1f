"""Text from a model, one interface: `load_generator(name)` gives an object with `generate(prompts, sampling)`.

The evaluation harness and the iterative loop both sample through it. Backends: transformers (always there) and vLLM
(where it is installed). Importing this package imports neither torch nor transformers.
"""

from .prompts import Prompt, load_tokenizer, prompt_hash, render_prompt
from .sources import ModelSource, fingerprint_source, resolve_source
from .types import Generation, Generator, LoadOptions, SamplingParams, derive_seed


__all__ = [
    "Generation",
    "Generator",
    "LoadOptions",
    "ModelSource",
    "Prompt",
    "SamplingParams",
    "derive_seed",
    "fingerprint_source",
    "load_generator",
    "load_tokenizer",
    "prompt_hash",
    "render_prompt",
    "resolve_source",
]


def load_generator(source: ModelSource | str, options: LoadOptions | None = None) -> Generator:
    """Load a model (full model folder, Hub name or PEFT adapter) and return its generator.

    `options` says how: backend, dtype, device, 4-bit base, chat template. Raises `InputError` for a model that is not
    there, an adapter whose base is missing, and a backend that is not installed.
    """
    options = options or LoadOptions()
    source = resolve_source(source, base_model=options.base_model) if isinstance(source, str) else source
    if options.backend == "vllm":
        from .vllm_backend import VLLMGenerator

        return VLLMGenerator.from_source(source, options)
    from .transformers_backend import TransformersGenerator

    return TransformersGenerator.from_source(source, options)
