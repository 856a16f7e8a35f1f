"""Accelerated preference optimisation in the loop: iterative DPO whose next start is extrapolated past the result."""

from dataclasses import dataclass

from ...preference.apo_accelerated import APOAcceleratedConfig
from ..config import LoopFields
from ..state import LoopState
from .dpo import Rule as DPORule


@dataclass
class APOAcceleratedLoopConfig(LoopFields, APOAcceleratedConfig):
    """Configuration of `alignkit loop apo_accelerated`."""

    def __post_init__(self):
        super().__post_init__()
        if self.previous_model:
            raise ValueError(
                f"`previous_model` is {self.previous_model!r}; in the loop it is the model of the iteration before, so "
                "leave it out."
            )


class Rule(DPORule):
    """The pair rule of DPO; momentum after training; the trained model, not the extrapolated one, is returned."""

    def __init__(self, config: APOAcceleratedLoopConfig) -> None:
        super().__init__(config)
        self.momentum = config.alpha

    def reference_paths(self, state: LoopState) -> dict[str, str]:
        if self.config.momentum_space == "parameters":
            return {"ref": state.policy}
        return {"ref": state.trained, "previous": state.previous_trained}

    def evaluated(self, policy: str, trained: str) -> str:
        return trained

    def final(self, state: LoopState) -> str:
        return state.trained
