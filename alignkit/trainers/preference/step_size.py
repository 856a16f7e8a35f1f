"""Configs whose method has a step size `eta` of its own in the place of DPO's `beta`."""

from dataclasses import fields


def refuse_beta(config, meaning: str) -> None:
    """Raise `ValueError` if `beta` was changed: the method does not read it, `meaning` says what stands for it."""
    default = next(item.default for item in fields(config) if item.name == "beta")
    if config.beta != default:
        raise ValueError(
            f"`beta` is {config.beta}, which {type(config).__name__} does not read; set `eta` ({meaning})."
        )
