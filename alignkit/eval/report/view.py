"""What both reports show beside the figures: sample outputs, truncated outputs, lengths, and warnings in plain words."""

from dataclasses import dataclass, field

from ..grading import Graded
from ..items import Item
from ..records import Record
from ..results import ModelResult, Results


MAX_TEXT = 4000
MAX_TAIL = 240
MAX_TRUNCATED = 5
WORTH_A_WARNING = 0.02

OUTCOMES = {
    (False, True): "wrong → right",
    (True, False): "right → wrong",
    (False, False): "wrong → wrong",
    (True, True): "right → right",
}
STATUS_WORDS = {
    "unparsable": "no answer found",
    "too_complex": "answer beyond the bounds",
    "timeout": "grading timed out",
    "crash": "grader crashed on it",
    "bad_gold": "gold cannot be read",
}


@dataclass(frozen=True)
class Answer:
    """One model's output to one item."""

    label: str
    text: str
    correct: bool
    verdict: str
    n_tokens: int
    truncated: bool


@dataclass(frozen=True)
class Example:
    """One item with every model's first sample side by side."""

    item_id: str
    prompt: list[dict[str, str]]
    gold: str
    outcome: str
    answers: list[Answer]


@dataclass(frozen=True)
class Lengths:
    """Tokens per completion of one model, split by whether it ended by itself."""

    label: str
    finished: list[int]
    truncated: list[int]


@dataclass(frozen=True)
class View:
    """The report's material."""

    examples: list[Example]
    lengths: list[Lengths]
    cut_off: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def build_view(results: Results, rows: list[Graded], baseline: int | None, num_examples: int) -> View:
    """Choose and shape what is shown. `rows[m]` are the items of `results.models[m]` with records and grades."""
    labels = [model.label for model in results.models]
    lengths = []
    cut_off = {}
    for label, graded in zip(labels, rows, strict=True):
        records = [(item, record) for item, group, _ in graded for record in group]
        cut = [(item, record) for item, record in records if record["finish_reason"] == "length"]
        finished = [record["n_tokens"] for _, record in records if record["finish_reason"] != "length"]
        lengths.append(Lengths(label, finished, [record["n_tokens"] for _, record in cut]))
        if cut:
            cut_off[label] = [(item.item_id, record["text"][-MAX_TAIL:]) for item, record in cut[:MAX_TRUNCATED]]
    places = choose_places(rows, baseline, num_examples)
    examples = [make_example(labels, [graded[place] for graded in rows], baseline) for place in places]
    return View(examples, lengths, cut_off, make_warnings(results))


def choose_places(rows: list[Graded], baseline: int | None, count: int) -> list[int]:
    """Places of the items to show: taken in turn from the outcomes, changes first."""
    piles: dict[tuple[bool, bool], list[int]] = {outcome: [] for outcome in OUTCOMES}
    first, last = outcome_models(len(rows), baseline)
    for place in range(len(rows[0])):
        piles[right(rows[first][place][2]), right(rows[last][place][2])].append(place)
    chosen: list[int] = []
    while len(chosen) < count and any(piles.values()):
        for pile in piles.values():
            if pile and len(chosen) < count:
                chosen.append(pile.pop(0))
    return chosen


def outcome_models(num_models: int, baseline: int | None) -> tuple[int, int]:
    """Which two models the outcome of an example is about: the baseline and the last other one."""
    first = 0 if baseline is None else baseline
    others = [place for place in range(num_models) if place != first]
    return first, others[-1] if others else first


def make_example(
    labels: list[str], row: list[tuple[Item, list[Record], list[Record]]], baseline: int | None
) -> Example:
    item = row[0][0]
    first, last = outcome_models(len(row), baseline)
    outcome = OUTCOMES[right(row[first][2]), right(row[last][2])]
    if first == last:
        outcome = outcome.split()[0]
    answers = [
        make_answer(label, records[0], grades[0]) for label, (_, records, grades) in zip(labels, row, strict=True)
    ]
    return Example(item.item_id, item.prompt, item.gold, outcome, answers)


def make_answer(label: str, record: Record, grade: Record) -> Answer:
    verdict = "right" if grade["correct"] else "wrong"
    if grade["status"] != "ok":
        verdict += f": {STATUS_WORDS[grade['status']]}"
    elif grade["extracted"] is not None:
        verdict += f": {grade['extracted']}"
    truncated = record["finish_reason"] == "length"
    return Answer(label, shorten(record["text"]), grade["correct"], verdict, record["n_tokens"], truncated)


def right(grades: list[Record]) -> bool:
    return bool(grades[0]["correct"])


def shorten(text: str) -> str:
    """A long text with its middle left out."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - MAX_TEXT} characters left out ...]\n{text[-half:]}"


def make_warnings(results: Results) -> list[str]:
    """One plain sentence for everything that makes the figures mean less than they seem to."""
    limit, size = results.settings["limit"], results.settings["suite_size"]
    warnings = []
    if limit is not None and limit < size:
        warnings.append(f"Only the first {limit} of {size} items were evaluated: not the suite's figure.")
    elif results.models[0].n != size:
        warnings.append(f"The data hold {results.models[0].n} items; the suite has {size}.")
    for model in results.models:
        warnings += model_warnings(model, results.settings["sampling"]["max_new_tokens"])
    return warnings


def model_warnings(model: ModelResult, max_new_tokens: int) -> list[str]:
    total = model.n_completions
    warnings = []
    if model.n_truncated > WORTH_A_WARNING * total:
        warnings.append(
            f"{model.label}: {model.n_truncated} of {total} completions were cut off ({max_new_tokens} new tokens "
            "at most). Cut-off answers are mostly wrong: raise max_new_tokens, or look why the model does not stop."
        )
    if model.n_unparsable > WORTH_A_WARNING * total:
        warnings.append(f"{model.label}: no answer was found in {model.n_unparsable} of {total} completions.")
    killed = model.n_timeout + model.n_crash
    if killed:
        warnings.append(f"{model.label}: grading was stopped on {killed} of {total} completions; they count as wrong.")
    if model.n_bad_gold:
        warnings.append(f"{model.label}: {model.n_bad_gold} of {total} completions have a gold that cannot be read.")
    return warnings
