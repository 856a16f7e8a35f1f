"""Stage `advance`: from the trained model to the next policy."""

from ..context import Context
from ..extrapolate import extrapolate
from ..files import link, publish, temporary_path


def advance(context: Context) -> None:
    """Write `policy/`: a link to `trained/`, or weights extrapolated past it where the method has momentum."""
    folder, state = context.iteration_dir, context.state
    trained, policy = folder / "trained", folder / "policy"
    if context.rule.momentum == 0:
        link(trained, policy)
        return
    trained_source = context.source(f"{folder.name}/trained")
    extrapolate(trained_source, context.source(state.trained), context.rule.momentum, temporary_path(policy))
    publish(policy)
