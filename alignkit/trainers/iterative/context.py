"""What every stage sees of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config import Run
from ...data.bundled import resolve_model
from ...generation import LoadOptions, ModelSource, resolve_source
from ...generation.types import DTYPES
from ...judges import Judge
from .rule import IterationRule
from .state import LoopState


@dataclass
class Context:
    """A run: its configuration, its rule, its judge, its folder and where it stands."""

    run: Run
    rule: IterationRule
    judge: Judge
    folder: Path
    state: LoopState

    @property
    def config(self) -> Any:
        """The loop configuration (also that of the method's trainer)."""
        return self.run.training

    @property
    def iteration_dir(self) -> Path:
        return self.folder / f"iter_{self.state.iteration}"

    def model_path(self, name: str) -> str:
        """A path of the state as one that can be loaded: inside the run's folder, an alias resolved, or as it is."""
        return str(self.folder / name) if is_own(name) else resolve_model(name)

    def source(self, name: str) -> ModelSource:
        """The model at a path of the state, for generation."""
        return resolve_source(self.model_path(name), resolve=resolve_model)

    def load_options(self) -> LoadOptions:
        """How models are loaded for sampling and for log-probabilities."""
        model, config = self.run.model, self.config
        dtype = str(model.dtype).removeprefix("torch.")
        return LoadOptions(
            backend="vllm" if config.use_vllm else "transformers",
            dtype=dtype if dtype in DTYPES else "auto",
            device="cpu" if config.use_cpu else "auto",
            load_in_4bit=bool(model.load_in_4bit),
            trust_remote_code=bool(config.trust_remote_code),
            batch_size=config.generation_batch_size,
            gpu_memory_utilization=config.vllm_gpu_memory_utilization,
        )


def is_own(name: str) -> bool:
    """Whether a path of the state lies in the run's folder."""
    return name.startswith("iter_")
