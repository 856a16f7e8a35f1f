"""The steps of the bundled models' training: Adam with warm-up and linear decay, batches drawn with replacement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from tqdm.auto import tqdm


WARMUP_STEPS = 30


class Batch:
    """The drawings of one step, and the step itself."""

    def __init__(self, rows: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
        self.rows = rows
        self.optimizer = optimizer
        self.loss = float("nan")

    def step(self, loss: torch.Tensor) -> None:
        """One clipped update on the loss."""
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        self.loss = float(loss.detach())


def optimise(
    parameters: Iterable[torch.nn.Parameter],
    rate: float,
    steps: int,
    title: str,
    count: int,
    batch_size: int,
    generator: torch.Generator,
) -> Iterator[Batch]:
    """Batches of Adam with warm-up and linear decay to zero, with a progress bar; the caller makes the step."""
    optimizer = torch.optim.Adam(list(parameters), lr=rate, betas=(0.9, 0.98))
    with tqdm(range(steps), desc=title, unit="step") as bar:
        for step in bar:
            optimizer.param_groups[0]["lr"] = rate * min((step + 1) / WARMUP_STEPS, 1 - step / steps)
            batch = Batch(torch.randint(count, (batch_size,), generator=generator), optimizer)
            yield batch
            if step % 20 == 0:
                bar.set_postfix_str(f"loss {batch.loss:.4f}", refresh=False)
