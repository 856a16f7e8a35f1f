"""How the pre-flight of a diffusion run is shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..batch import BatchPlan
from ..report import Report, heading, line, render_batch, render_estimate
from .memory import memory_notes


if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class DiffusionReport(Report):
    """What was found of a diffusion run: `batch` and `pipeline` are empty after an error or where skipped.

    Attributes:
        pipeline: what will be trained, in words.
        batch: batches and updates.
        sampling: the reference samples of an update, in words; empty where none are made.
    """

    pipeline: str = ""
    batch: BatchPlan | None = None
    sampling: str = ""

    def render_parts(self, console: "Console") -> None:
        if self.pipeline:
            heading(console, "Pipeline")
            line(console, f"  {self.pipeline}")
        if self.batch is not None:
            render_batch(console, self.batch)
            if self.sampling:
                line(console, f"  {self.sampling}")
        if self.memory is not None:
            render_estimate(console, self.memory, memory_notes(self.memory.settings))
