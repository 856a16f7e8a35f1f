"""What the trainer hands to parts, made by hand: a token batch and a gathered generation batch."""

import torch

from alignkit.parts.rollout import RolloutBatch
from alignkit.parts.tokens import TokenBatch


def make_tokens(rows=4, tokens=6, spread=0.5, seed=0, extras=None, **changes):
    """A `TokenBatch` of one process with log-ratios of standard deviation `spread`; the last row has no token."""
    stream = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    old = -normal(rows, tokens).abs() - 0.1
    lengths = torch.randint(1, tokens + 1, (rows,), generator=stream)
    lengths[-1] = 0
    fields = {
        "logps": (old + spread * normal(rows, tokens)).requires_grad_(),
        "old_logps": old,
        "ref_logps": old + spread * normal(rows, tokens),
        "advantages": normal(rows),
        "mask": torch.arange(tokens) < lengths[:, None],
        "entropies": normal(rows, tokens).exp(),
        "extras": extras or {},
        "training": True,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "beta": 0.0,
        "reduce_sum": lambda values: values,
        "gather": lambda values: values,
    }
    return TokenBatch(**{**fields, **changes})


def make_rollouts(rewards, num_generations, names=None, lengths=None, weights=None, **changes):
    """A `RolloutBatch` of fresh completions; `rewards` is [N] or [N, K]; further fields as `RolloutBatch` takes them."""
    values = torch.as_tensor(rewards, dtype=torch.float64)
    values = values[:, None] if values.dim() == 1 else values
    rows, functions = values.shape
    written = torch.as_tensor([3] * rows if lengths is None else lengths)
    fields = {
        "rewards": values,
        "reward_weights": torch.ones(functions) if weights is None else torch.as_tensor(weights),
        "reward_names": names or [f"reward_{index}" for index in range(functions)],
        "num_generations": num_generations,
        "training": True,
        "lengths": written,
        "mask": torch.arange(int(written.max())) < written[:, None],
        "groups": torch.arange(rows) // num_generations,
        "origins": torch.zeros(rows, dtype=torch.long),
    }
    return RolloutBatch(**{**fields, **changes})
