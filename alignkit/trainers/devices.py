"""What the device at hand can do, for defaults that would otherwise fail on it."""


def bf16_by_default(fp16: bool) -> bool:
    """Whether mixed bfloat16 is a sensible default here: as TRL where an accelerator supports it, never on a bare CPU.

    `transformers` refuses `bf16=True` without an accelerator, and TRL's default is exactly that.
    """
    from transformers.utils import is_torch_bf16_gpu_available

    return not fp16 and is_torch_bf16_gpu_available()
