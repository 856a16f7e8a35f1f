"""Each prompt once: rows, masks and attention for pairs and groups that share a prompt, without changing a number.

`share_prompts(model, mode)` is what trainers call; `build_rows`, `attention_mask` and `unpack` are the layout for those
who call a model themselves. `docs/guides/shared_prefix.md` says what is done when, and what is refused.
"""

from .config import SharedPrefixConfig
from .forward import PromptSharing, share_prompts, shared_inputs
from .masks import attention_mask
from .opening import share_trainer_prompts
from .rows import Rows, build_rows, unpack
from .support import reason_against


__all__ = [
    "PromptSharing",
    "Rows",
    "SharedPrefixConfig",
    "attention_mask",
    "build_rows",
    "reason_against",
    "share_prompts",
    "share_trainer_prompts",
    "shared_inputs",
    "unpack",
]
