"""Comparing what two trainers learned."""


def largest_difference(left, right) -> float:
    """Largest absolute difference between the parameters of two models."""
    pairs = zip(left.state_dict().items(), right.state_dict().items(), strict=True)
    return max((a - b).abs().max().item() for (_, a), (_, b) in pairs)
