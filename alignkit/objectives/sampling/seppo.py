"""SePPO's choice of a reference among the checkpoints so far (arXiv 2410.05255)."""

from ..arguments import require_choice, require_range


REFERENCE_STRATEGIES = ("initial", "latest", "random")


def seppo_reference_index(num_checkpoints: int, draw: float, strategy: str = "random") -> int:
    """Index of the checkpoint that is the reference of an iteration.

    `"initial"`: 0, the model that training began with; `"latest"`: the last one; `"random"` (the method):
    floor(draw * num_checkpoints), uniform on 0 .. num_checkpoints - 1 for a uniform draw.

    Args:
        num_checkpoints: how many there are, the initial model among them; at least 1.
        draw: a uniform number in [0, 1).
        strategy: one of `REFERENCE_STRATEGIES`.

    Raises:
        ValueError: if there is no checkpoint, the draw lies outside [0, 1), or the strategy is unknown.
    """
    require_choice("strategy", strategy, REFERENCE_STRATEGIES)
    require_range("num_checkpoints", num_checkpoints, 1)
    require_range("draw", draw, 0.0, 1.0, high_open=True)
    if strategy == "initial":
        return 0
    # A draw just below 1 times a large count can round up to the count.
    return num_checkpoints - 1 if strategy == "latest" else min(int(draw * num_checkpoints), num_checkpoints - 1)
