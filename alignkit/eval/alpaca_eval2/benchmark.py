"""AlpacaEval 2 in the judge stage: 805 instructions, one call each against GPT-4 Turbo's answer."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..items import Item, load_rows
from ..judging.benchmark import Figures, Game, JudgedBenchmark, JudgedItem, JudgedRun, Messages, Verdict
from ..records import write_atomically
from .formats import Annotation, Reference, as_references, model_outputs
from .judge_call import judge_messages, read_reply, shown_order
from .leaderboard import place_on_leaderboard
from .length_control import FEW_INSTRUCTIONS
from .official import read_metrics, run_package
from .package_files import ANNOTATOR, annotator_config, judge_template, package_version
from .scoring import Scores, score_rows
from .side_data import load_side_data


if TYPE_CHECKING:
    from alignkit.judges import Completion, EndpointOptions

# A rank on the official leaderboard means something under its own judge and on all instructions only.
NUM_INSTRUCTIONS = 805
# Refitting the length control is dearer than a mean: this many resamples at most.
MAX_REFITS = 1000


class AlpacaEval2(JudgedBenchmark):
    """The benchmark; its judge prompt and settings are read from the installed alpaca-eval package."""

    attempts = 1
    completion_tokens = 1

    @cached_property
    def official_judge(self) -> dict[str, Any]:
        settings = annotator_config()["completions_kwargs"]
        return {
            "model": settings["model_name"],
            "max_tokens": settings["max_tokens"],
            "temperature": settings["temperature"],
            "top_p": 1.0,
            "top_logprobs": settings["top_logprobs"],
        }

    def load_items(self) -> tuple[list[Item], str]:
        rows, place = load_rows(self.suite, self.options.data)
        references = as_references(rows, place)
        kept = references[: self.options.limit]
        return [
            Item(
                item_id=str(own.place),
                prompt=[{"role": "user", "content": own.instruction}],
                groups={"dataset": own.dataset} if own.dataset else {},
                extra={"baseline": own.generator, "baseline_output": own.output},
            )
            for own in kept
        ], place

    def prompt_identity(self) -> Any:
        return {"annotator": ANNOTATOR, "template": judge_template()}

    def baseline_name(self, item: Item) -> str:
        return item.extra["baseline"]

    def baseline_answer(self, item: Item) -> str:
        return item.extra["baseline_output"]

    def games(self, item: Item, answer: str, weighted: bool) -> list[Game]:
        if self.identical(item, answer):
            return []
        instruction = item.prompt[-1]["content"]
        messages: Messages = judge_messages(instruction, self.baseline_answer(item), answer)
        return [Game(item.item_id, shown_order(instruction), messages)]

    def read(self, game: Game, reply: Completion, weighted: bool) -> Verdict:
        return read_reply(reply, game.order, weighted)

    def ask_officially(
        self, rows: Sequence[tuple[Item, str]], name: str, judge: EndpointOptions, folder: Path
    ) -> dict[str, Completion]:
        references = [self.as_reference(item) for item, _ in rows]
        outputs = model_outputs(
            ((own.instruction, answer, own.dataset) for own, (_, answer) in zip(references, rows, strict=True)), name
        )
        baseline = model_outputs(
            ((own.instruction, own.output, own.dataset) for own in references), references[0].generator
        )
        replies = run_package(outputs, baseline, judge, self.options.gamed, folder)
        return {str(own.place): replies[own.instruction] for own in references if own.instruction in replies}

    def score(self, runs: Sequence[JudgedRun]) -> list[Figures]:
        reference = [self.as_reference(row.item) for row in runs[0].rows]
        places = {own.instruction: own.place for own in reference}
        side = load_side_data(places, self.options.gamed, self.options.difficulty)
        figures = []
        for run in runs:
            rows = [
                Annotation(own.place, preference_of(row), len(row.answer))
                for own, row in zip(reference, run.rows, strict=True)
            ]
            resamples = min(self.options.num_resamples, MAX_REFITS)
            scores = score_rows(rows, reference, side, resamples, self.options.confidence)
            details: dict[str, Any] = {"variant": side.variant, "sources": side.sources}
            official = read_metrics(run.engine_folder) if run.engine_folder is not None else None
            if official is not None:
                details["official_engine"] = official
            figures.append(as_figures(run, rows, scores, details))
        return figures

    def as_reference(self, item: Item) -> Reference:
        return Reference(
            place=int(item.item_id),
            instruction=item.prompt[-1]["content"],
            output=self.baseline_answer(item),
            generator=self.baseline_name(item),
            dataset=item.groups.get("dataset"),
        )

    def export(self, run: JudgedRun, judge: str, folder: Path) -> None:
        """`model_outputs.json` and `annotations.json` as the package writes them."""
        name = run.run.label
        outputs = model_outputs(
            ((row.item.prompt[-1]["content"], row.answer, row.item.groups.get("dataset")) for row in run.rows), name
        )
        write_atomically(folder / "model_outputs.json", json.dumps(outputs, indent=2) + "\n")
        annotations = [
            {
                "instruction": row.item.prompt[-1]["content"],
                "output_1": self.baseline_answer(row.item),
                "generator_1": self.baseline_name(row.item),
                "dataset": row.item.groups.get("dataset"),
                "output_2": row.answer,
                "generator_2": name,
                "annotator": judge,
                "preference": None if math.isnan(value := preference_of(row)) else value,
                "preference_raw_completion": row.games[0]["raw_text"] if row.games else None,
            }
            for row in run.rows
        ]
        write_atomically(folder / "annotations.json", json.dumps(annotations, indent=2) + "\n")


def preference_of(row: JudgedItem) -> float:
    """1 = baseline ... 2 = candidate; 1.5 for identical answers, NaN for a null or missing verdict."""
    if row.answer == row.item.extra["baseline_output"]:
        return 1.5
    score = row.games[0]["score"] if row.games else None
    return math.nan if score is None else 1 + score


def add_package_figures(metrics: dict[str, dict[str, float]], package: dict[str, Any]) -> str:
    """Put the package's own figures beside ours; say how far they are apart."""
    largest = 0.0
    for name in [name for name in metrics if name in package]:
        metrics[f"{name}_by_alpaca_eval"] = {"value": package[name]}
        largest = max(largest, abs(package[name] - metrics[name]["value"]))
    return f"Judged and also scored by alpaca-eval {package_version()}: its figures are within {largest:.3f} of ours."


def as_figures(run: JudgedRun, rows: Sequence[Annotation], scores: Scores, details: dict[str, Any]) -> Figures:
    """The scores in the report's terms."""
    win, controlled = scores.win, scores.controlled
    metrics: dict[str, dict[str, float]] = {}
    if controlled is not None:
        metrics["length_controlled_winrate"] = {
            "value": controlled.value,
            "ci_low": controlled.ci_low,
            "ci_high": controlled.ci_high,
            "standard_error": controlled.standard_error,
        }
    low, high = scores.win_interval
    metrics["win_rate"] = {
        "value": win.win_rate,
        "ci_low": low,
        "ci_high": high,
        "standard_error": win.standard_error,
    }
    metrics["discrete_win_rate"] = {"value": win.discrete_win_rate}
    enough = controlled is not None and win.n_total >= FEW_INSTRUCTIONS
    headline = "length_controlled_winrate" if enough else "win_rate"
    notes = list(scores.notes)
    if "official_engine" in details:
        notes.append(add_package_figures(metrics, details["official_engine"]))
    discrete = sum(game["kind"] == "discrete" and game["score"] is not None for row in run.rows for game in row.games)
    if discrete:
        notes.append(
            f"{discrete} of {win.n_total} verdicts are the judge's letter alone, without log-probabilities: these are not "
            "AlpacaEval 2's weighted figures."
        )
    leaderboard = []
    if math.isfinite(metrics[headline]["value"]):
        leaderboard = place_on_leaderboard(run.run.label, metrics[headline]["value"], headline)
    if len(rows) != NUM_INSTRUCTIONS:
        notes.append(f"The place on the leaderboard is of {len(rows)} instructions; the leaderboard's are of 805.")
    return Figures(
        headline=headline,
        metrics=metrics,
        item_values=[None if math.isnan(row.preference) else row.preference - 1 for row in rows],
        counts={"n_wins": win.n_wins, "n_wins_base": win.n_wins_base, "n_draws": win.n_draws, "n_total": win.n_total},
        notes=notes,
        leaderboard=leaderboard,
        details={
            **details,
            "avg_length": scores.avg_length,
            "length_control": asdict(controlled) if controlled else None,
            "alpaca_eval": package_version(),
        },
    )
