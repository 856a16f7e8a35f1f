"""What the device at hand can do, for defaults that would otherwise fail on it."""

from typing import Any


def default_bf16(args: Any) -> None:
    """Set `args.bf16`, where it was not given, to what is sensible here: as TRL on an accelerator, off on a bare CPU.

    `transformers` refuses `bf16=True` without an accelerator, and TRL's default is exactly that.
    """
    from transformers.utils import is_torch_bf16_gpu_available

    if args.bf16 is None:
        args.bf16 = not args.fp16 and is_torch_bf16_gpu_available()
