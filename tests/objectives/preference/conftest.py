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


@pytest.fixture(scope="session")
def gradient_of() -> Callable[..., list[torch.Tensor]]:
    """`gradient_of(function, *tensors)`: gradients of the summed result; None for a tensor that it does not reach."""

    def gradients(function, *tensors):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
        return torch.autograd.grad(function(*leaves).sum(), leaves, allow_unused=True)

    return gradients


@pytest.fixture(scope="session")
def minimise() -> Callable[[Callable[[torch.Tensor], torch.Tensor], torch.Tensor], torch.Tensor]:
    """`minimise(objective, start)`: logits at which the scalar objective of their log-softmax is smallest."""

    def run(objective, start):
        logits = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [logits], max_iter=500, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-18
        )

        def closure():
            optimizer.zero_grad()
            loss = objective(logits.log_softmax(-1))
            loss.backward()
            return loss

        optimizer.step(closure)
        return logits.detach().log_softmax(-1)

    return run
