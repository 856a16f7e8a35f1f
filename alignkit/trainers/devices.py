"""What the device at hand can do, for defaults that would otherwise fail on it."""

import atexit
import time
from functools import cache
from typing import Any


def default_bf16(args: Any) -> None:
    """Set `args.bf16`, where it was not given, to what is sensible here: as TRL on an accelerator, off on a bare CPU.

    `transformers` refuses `bf16=True` without an accelerator, and TRL's default is exactly that.
    """
    from transformers.utils import is_torch_bf16_gpu_available

    if args.bf16 is None:
        args.bf16 = not args.fp16 and is_torch_bf16_gpu_available()


@cache
def let_processes_part() -> None:
    """Before the interpreter ends, give the threads of the process group a moment to drop the tensors of the last exchange.

    They need the interpreter's lock for it. A group that is freed at exit waits for its threads with the lock in hand, so
    that a run whose last exchange was a moment ago could hang for ever after its work was done and saved.
    """
    atexit.register(time.sleep, 0.5)
