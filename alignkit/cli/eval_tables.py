"""What `alignkit eval` prints: the suites, the figures of a suite, and the scores of what is stored."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_suites() -> None:
    """A table of the suites."""
    from alignkit.eval.suites import load_suite, suite_names

    table = Table("suite", "what", "items", "samples", "protocol", "verdict")
    for name in suite_names():
        suite = load_suite(name)
        verdict = {"judged": "judge", "image_reward": "scorer"}.get(suite.kind, "math-verify")
        table.add_row(name, suite.title, str(suite.size), str(suite.n_samples), suite.protocol, verdict)
    table.add_row("lm_eval:TASK,...", "tasks of lm-eval (extra lm-eval)", "", "", "lm-eval's", "lm-eval's")
    Console().print(table)


def print_results(results: Any) -> None:
    """The figures of one suite as a table, and the paired comparisons."""
    console = Console()
    if results.kind == "math":
        console.print(math_table(results))
    elif results.kind == "judged":
        console.print(judged_table(results))
        for note in notes_of(results):
            console.print(f"note: {note}", markup=False, highlight=False)
    elif results.kind == "image_reward":
        console.print(image_table(results))
    else:
        console.print(task_table(results))
    for comparison in results.comparisons:
        console.print(describe_comparison(results, comparison), markup=False)


def notes_of(results: Any) -> list[str]:
    """What must be known of all models once, of one model after its name."""
    everywhere = set.intersection(*(set(model.notes) for model in results.models))
    common = [note for note in results.models[0].notes if note in everywhere]
    own = [f"{model.label}: {note}" for model in results.models for note in model.notes if note not in everywhere]
    return [*results.notes, *common, *own]


def math_table(results: Any) -> Table:
    table = model_table(results, ("accuracy", "interval", "right", "cut off", "no answer", "timed out"))
    for model in results.models:
        table.add_row(
            escape(model.label),
            f"{100 * model.accuracy:.1f} %",
            f"{100 * model.ci_low:.1f}-{100 * model.ci_high:.1f}",
            f"{model.n_correct}/{model.n_completions}",
            str(model.n_truncated),
            str(model.n_unparsable + model.n_too_complex),
            str(model.n_timeout + model.n_crash),
        )
    return table


def judged_table(results: Any) -> Table:
    names = list(dict.fromkeys(name for model in results.models for name in model.metrics))
    table = model_table(results, (*(name.replace("_", " ") for name in names), "length", "null", "cut off", "cost"))
    for model in results.models:
        cells = [describe_metric(model.metrics.get(name)) for name in names]
        unpriced = model.judging["unpriced"]
        cost = "unknown" if unpriced else f"{model.judging['cost']:.2f}"
        counts = f"{model.mean_length:.0f}", str(model.n_null + model.n_missing), str(model.n_truncated), cost
        table.add_row(escape(model.label), *cells, *counts)
    return table


def task_table(results: Any) -> Table:
    table = model_table(results, ("task", "metric", "value", "standard error"))
    for model in results.models:
        for name, metric in model.metrics.items():
            error = metric.get("standard_error")
            shown = "" if error is None else f"{error:.4f}"
            table.add_row(escape(model.label), *name.split(" ", 1), f"{metric['value']:.4f}", shown)
    return table


def image_table(results: Any) -> Table:
    parts = list(results.models[0].parts)
    table = model_table(results, (f"reward ({results.unit})", "interval", "images", *parts))
    for model in results.models:
        cells = f"{model.reward:.4f}", f"{model.ci_low:.4f} to {model.ci_high:.4f}", str(model.n_images)
        table.add_row(escape(model.label), *cells, *(f"{model.parts[name]:.2f}" for name in parts))
    return table


def model_table(results: Any, columns: tuple[str, ...]) -> Table:
    table = Table(title=escape(results.title), title_justify="left")
    table.add_column("model", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    return table


def describe_metric(metric: dict[str, float] | None) -> str:
    """A figure with its interval, where it has one."""
    if metric is None or metric["value"] is None:
        return "-"
    low, high = metric.get("ci_low"), metric.get("ci_high")
    interval = f" ({low:.1f}-{high:.1f})" if low is not None and high is not None and low == low else ""
    return f"{metric['value']:.2f}{interval}"


def describe_comparison(results: Any, comparison: Any) -> str:
    """One paired difference as a sentence."""
    if results.kind == "image_reward":
        return (
            f"{results[comparison.model].label} against {results[comparison.baseline].label}: {comparison.difference:+.4f} "
            f"({comparison.ci_low:+.4f} to {comparison.ci_high:+.4f}) on {comparison.n} captions; "
            f"{100 * comparison.share_better:.0f} % of the images score higher"
        )
    scale = 100 if results.kind == "math" else 1
    text = (
        f"{results[comparison.model].label} against {results[comparison.baseline].label}: "
        f"{scale * comparison.difference:+.1f} points ({scale * comparison.ci_low:+.1f} to "
        f"{scale * comparison.ci_high:+.1f})"
    )
    if results.kind != "math":
        return f"{text} on {comparison.n} items"
    return (
        f"{text}; right only now {comparison.only_model_right}, right only before "
        f"{comparison.only_baseline_right}, of {comparison.n}"
    )


# Of a table with one row per model, the columns that are shown where the screen is too narrow for all.
MAIN_SCORES = (
    "win_rate",
    "length_controlled_winrate",
    "avg_length",
    "n_total",
    "score",
    "ci_low",
    "ci_high",
    "first_turn",
    "second_turn",
    "n_unread",
)


def print_scores(scores: dict[str, Any]) -> None:
    """The numbers of a `scores.json`, one line each, or one row per model."""
    console = Console()
    own = scalars(scores)
    by_model = {name: values for name, values in scores.items() if isinstance(values, dict) and scalars(values)}
    if not own and by_model:
        columns = list(dict.fromkeys(name for values in by_model.values() for name in scalars(values)))
        table = scores_table(by_model, columns)
        if console.measure(table).minimum > console.width or len(columns) > 8:
            table = scores_table(by_model, [name for name in columns if name in MAIN_SCORES])
        console.print(table)
        notes = [(name, note) for name, values in by_model.items() for note in values.get("notes") or ()]
        everywhere = [note for note, count in Counter(note for _, note in notes).items() if count == len(by_model)]
        for note in everywhere:
            console.print(f"note: {note}", markup=False, highlight=False)
        for name, note in notes:
            if note not in everywhere:
                console.print(f"note: {name}: {note}", markup=False, highlight=False)
    else:
        table = Table(show_header=False)
        for name, value in own.items():
            table.add_row(name.replace("_", " "), show(value))
        for name in ("pass_at_k", "maj_at_k"):
            for k, value in scores.get(name, {}).items():
                table.add_row(name.replace("_at_k", f"@{k}"), show(value))
        console.print(table)
    for note in scores.get("notes") or ():
        console.print(f"note: {note}", markup=False, highlight=False)


def scores_table(by_model: dict[str, dict[str, Any]], columns: list[str]) -> Table:
    table = Table()
    # Rather the headings are wrapped than the names.
    table.add_column("model", overflow="fold", min_width=min(36, max(map(len, by_model))))
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for name, values in by_model.items():
        table.add_row(escape(name), *(show(values.get(column, "")) for column in columns))
    return table


def scalars(values: dict[str, Any]) -> dict[str, Any]:
    return {name: own for name, own in values.items() if isinstance(own, int | float | str)}


def show(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))
