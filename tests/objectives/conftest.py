"""What the property tests of the objectives share: random tokens, gradients, and an exact minimiser."""

from collections.abc import Callable

import pytest
import torch


@pytest.fixture(scope="session")
def draw_tokens() -> Callable[..., list[torch.Tensor]]:
    """`draw_tokens(seed, count)`: a mask [5, 7] with holes, its last row empty, and `count` normal float64 tensors."""

    def draw(seed: int, count: int, rows: int = 5, tokens: int = 7) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        mask = torch.rand(rows, tokens, generator=generator) < 0.7
        mask[-1] = False
        tables = [torch.randn(rows, tokens, generator=generator, dtype=torch.float64) for _ in range(count)]
        return [mask, *tables]

    return draw


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
