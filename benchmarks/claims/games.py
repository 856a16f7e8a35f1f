"""A preference that no reward explains: the cyclic game of three responses, and how far a policy is from solving it."""

import torch


# Entry (i, j) = P(i beats j): every response loses to another one.
CYCLIC = torch.tensor([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]], dtype=torch.float64)
START = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
# Every ordered pair of responses, the two indices of each.
FIRST, SECOND = (index.flatten() for index in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))


def duality_gap(policy: torch.Tensor) -> float:
    """What both players together could still gain in the symmetric game: 2 (max_y P(y beats policy) - 1/2)."""
    return 2 * float((CYCLIC @ policy).max() - 0.5)


def regularised_gap(policy: torch.Tensor, reference: torch.Tensor, tau: float) -> float:
    """The same in the game with the two KL terms to the reference, weight tau; the best answer is in closed form."""
    best = tau * torch.logsumexp(reference.log() + CYCLIC @ policy / tau, 0)
    return 2 * float(best + tau * (policy * (policy / reference).log()).sum() - 0.5)
