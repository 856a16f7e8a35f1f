"""Weights moved at random."""

import torch


def shake(model, std=0.05, only="lora_B"):
    """Move the weights whose name holds `only`, so that the policy is not its reference."""
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, item in model.named_parameters():
            if only in name:
                item += torch.randn(item.shape, generator=stream) * std
