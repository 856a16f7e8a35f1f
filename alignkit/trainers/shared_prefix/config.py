"""The options of prompt sharing, mixed into the configurations of the trainers that use it."""

from dataclasses import dataclass, field

from ...objectives.arguments import require_choice, require_range


__all__ = ["MODES", "SharedPrefixConfig"]

MODES = ("auto", "mask", "grouped", "off")


@dataclass
class SharedPrefixConfig:
    """Fields of a trainer that computes each prompt once; a method's numbers are the same under every value.

    Parameters:
        shared_prefix (`str`, *optional*, defaults to `"auto"`):
            `"auto"` chooses what is fastest for each batch and leaves models alone that do not allow sharing;
            `"mask"` and `"grouped"` always take that form and refuse such models; `"off"` computes TRL's padded rows.
        shared_prefix_tokens (`int`, *optional*):
            Packing budget of the form `"mask"`: several pairs or groups are put into one row of at most this many
            tokens. `None` takes the longest pair or group of the batch.
    """

    shared_prefix: str = field(
        default="auto",
        metadata={
            "help": "Whether the prompt of a pair or group is computed once: 'auto' chooses for each batch and leaves "
            "out models that do not allow it, 'mask' and 'grouped' insist on one form, 'off' computes padded rows as TRL."
        },
    )
    shared_prefix_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Packing budget of shared_prefix='mask' in tokens: pairs or groups share a row up to this length. "
            "Default: the longest pair or group of the batch. Valid: at least 1."
        },
    )

    def check_shared_prefix(self) -> None:
        """Raise `ValueError` for a value outside its range; the configuration's `__post_init__` calls it."""
        require_choice("shared_prefix", self.shared_prefix, MODES)
        if self.shared_prefix_tokens is not None:
            require_range("shared_prefix_tokens", self.shared_prefix_tokens, 1)
