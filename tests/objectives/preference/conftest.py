"""Random summed log-probabilities for the property tests of the pair losses."""

from collections.abc import Callable

import pytest
import torch


@pytest.fixture(scope="session")
def draw_logps() -> Callable[..., list[torch.Tensor]]:
    """`draw_logps(seed, count, size)`: float64 sequence log-probabilities from -60 to 0 nats, `count` tensors [size]."""

    def draw(seed: int, count: int, size: int = 6) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [-60 * torch.rand(size, generator=generator, dtype=torch.float64) for _ in range(count)]

    return draw


@pytest.fixture(scope="session")
def cyclic_game() -> torch.Tensor:
    """Preference matrix [3, 3] in which every response loses to another one (page of SPPO)."""
    return torch.tensor([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]], dtype=torch.float64)
