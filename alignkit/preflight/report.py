"""What the pre-flight found, and how it is shown."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .batch import BatchPlan
from .memory import GIB, StepSettings
from .rendering import RenderedSequence, Rendering
from .verdict import MemoryReport


if TYPE_CHECKING:
    from rich.console import Console

# Around trained tokens where there is no colour.
OPEN_MARK, CLOSE_MARK = "⟦", "⟧"

_STYLES = {"fits": "green", "tight": "yellow", "does not fit": "red", "unknown": "yellow"}


@dataclass
class Report:
    """What `alignkit check` found of any training.

    Attributes:
        method: key of the method.
        source: name of the data set.
        rows: training rows; None while streaming.
        rows_checked: how many were validated.
        columns: the columns that the run reads.
        memory: the estimate; None where skipped or after an error.
        skipped: part -> why it could not be looked at.
        warnings: what will work, but perhaps not as meant.
        errors: what will fail, one sentence each.
    """

    method: str
    source: str = ""
    rows: int | None = None
    rows_checked: int = 0
    columns: tuple[str, ...] = ()
    memory: MemoryReport | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def render(self, console: "Console") -> None:
        """Print everything but the errors: coloured on a terminal, with plain marks elsewhere."""
        if self.rows_checked:
            whole = "" if self.rows is None else f" of {self.rows:,}"
            heading(console, "Data")
            line(console, f"  {self.source}: {self.rows_checked:,}{whole} rows checked")
            line(console, f"  columns read: {', '.join(self.columns)}")
        self.render_parts(console)
        for part, reason in self.skipped.items():
            line(console, f"\n{part}: skipped, {reason}", "yellow")
        for warning in self.warnings:
            line(console, f"\nwarning: {warning}", "yellow")

    def render_parts(self, console: "Console") -> None:
        """Print what stands between the data and the warnings."""


@dataclass
class PreflightReport(Report):
    """What was found of a training on pairs: `rendering` and `batch` are None where skipped or after an error."""

    rendering: Rendering | None = None
    batch: BatchPlan | None = None

    def render_parts(self, console: "Console") -> None:
        if self.rendering is not None:
            _render_example(console, self.rendering)
        if self.batch is not None:
            render_batch(console, self.batch)
        if self.memory is not None:
            render_memory(console, self.memory)


def line(console: "Console", text: Any, style: str | None = None) -> None:
    """Print one line as it is."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def heading(console: "Console", text: str) -> None:
    """Print the title of a part."""
    line(console, f"\n{text}", "bold")


def _render_example(console: "Console", rendering: Rendering) -> None:
    heading(console, "First example, as the model sees it")
    legend = "highlighted tokens are trained" if console.is_terminal else f"{OPEN_MARK}trained{CLOSE_MARK}"
    line(console, f"  ({legend}, the others are context)", "dim")
    for sequence in rendering.sequences:
        cut = f", {sequence.cut_tokens} cut by max_length" if sequence.cut_tokens else ""
        numbers = f"{sequence.prompt_tokens} tokens of context, {sequence.trained_tokens} trained{cut}"
        line(console, f"  {sequence.name}: {numbers}")
        line(console, sequence_text(sequence, console.is_terminal))
    lengths = rendering.lengths
    rows = f"all {lengths.rows:,}" if lengths.complete else f"a sample of {lengths.rows:,}"
    line(
        console,
        f"  lengths of {rows} pairs: median {lengths.median}, longest {lengths.longest} tokens; "
        f"{lengths.too_long / lengths.rows:.1%} above max_length (cut), "
        f"{lengths.dropped / lengths.rows:.1%} dropped",
    )


def render_batch(console: "Console", plan: BatchPlan) -> None:
    """Print the arithmetic of batches and updates."""
    heading(console, "Batches")
    line(
        console,
        f"  {plan.per_device} pairs per device x {plan.accumulation} accumulation x {plan.processes} processes "
        f"= {plan.effective} pairs per update",
    )
    if plan.steps_per_epoch is None or plan.rows is None:
        line(console, "  updates per epoch: unknown while streaming")
    else:
        note = f" (the last of {plan.last_batch} pairs)" if plan.last_batch != plan.effective else ""
        line(console, f"  {plan.rows:,} pairs = {plan.steps_per_epoch:,} updates per epoch{note}")
    epochs = "" if math.isnan(plan.epochs) else f", {plan.epochs:g} epochs"
    line(console, f"  {plan.total_steps:,} updates in all{epochs}, {plan.warmup_steps:,} of them warm-up")


def render_memory(console: "Console", memory: MemoryReport, **notes: str) -> None:
    """Print the estimate part by part, each with what it was computed from; `notes` says that of further parts."""
    render_estimate(console, memory, _memory_notes(memory.settings) | notes)


def render_estimate(console: "Console", memory: MemoryReport, notes: dict[str, str]) -> None:
    """Print any estimate part by part, its peak and the verdict."""
    heading(console, "Memory per device (estimate)")
    parts = memory.estimate.parts()
    width = max(map(len, parts)) + 1
    for name, size in parts.items():
        line(console, f"  {name.replace('_', ' '):<{width}}{size_text(size):>11}  {notes.get(name, '')}".rstrip())
    line(console, f"  {'peak':<{width}}{size_text(memory.estimate.total):>11}", "bold")
    device = memory.device
    has = "" if device.capacity is None else f" ({size_text(device.capacity)})"
    line(console, f"  {memory.verdict}: {device.name}{has}", _STYLES[memory.verdict])
    if memory.suggestion:
        line(console, f"  suggestion: {memory.suggestion}", "yellow")


def _memory_notes(settings: StepSettings) -> dict[str, str]:
    """What each part was computed from."""
    floats = f"{8 * settings.weight_bytes}-bit"
    split = f", {settings.sharding} over {settings.processes} processes" if settings.sharding != "none" else ""
    checkpointing = "" if settings.gradient_checkpointing else "out"
    return {
        "weights": (floats if settings.quantisation == "none" else f"{settings.quantisation}, the rest {floats}")
        + split,
        "adapter": "" if settings.peft else "none: all weights are trained",
        "optimizer": settings.optimizer,
        "activations": f"{settings.sequences} sequences of {settings.length} tokens, with{checkpointing} gradient "
        "checkpointing; less where prompts are shared",
        "logits": "computed in tiles, never whole",
        "reference": {
            "shared": "the base model without its adapter",
            "precomputed": "precomputed, no second model",
            "second": "a second model",
            "none": "none",
        }[settings.reference],
    }


def size_text(size: float) -> str:
    """Bytes as GiB, or MiB where small."""
    return f"{size / GIB:.2f} GiB" if size >= 0.1 * GIB else f"{size / 1024**2:.1f} MiB"


def sequence_text(sequence: RenderedSequence, coloured: bool):
    """The sequence as `rich.text.Text`: context dim, trained tokens highlighted, or between marks without colour."""
    from rich.text import Text

    text = Text("    ")
    for run, trained in sequence.runs:
        if coloured:
            text.append(run, style="bold green" if trained else "dim")
        else:
            text.append(f"{OPEN_MARK}{run}{CLOSE_MARK}" if trained else run)
    return Text("\n    ").join(text.split("\n"))
