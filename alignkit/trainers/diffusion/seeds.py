"""Seeds of what is drawn: each purpose its own, none of them the global generator's."""

import hashlib

import torch


def seed_of(*parts: int | str) -> int:
    """A seed below 2^63 from what it is for, e.g. `seed_of(42, "reference sample", iteration, row)`."""
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def generator_of(*parts: int | str) -> torch.Generator:
    """A CPU generator with that seed: the same numbers on every device."""
    return torch.Generator().manual_seed(seed_of(*parts))
