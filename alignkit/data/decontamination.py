"""Which training questions stand in an evaluation suite: the same question, or one that shares its n-grams."""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..judges.records import write_atomically


N = 8
MIN_OVERLAP = 0.3
# Words of any script, and numbers; signs, spacing and the braces of LaTeX carry no identity of a question.
TOKEN = re.compile(r"[^\W\d_]+|\d+")
SHOWN_PER_SUITE = 20


@dataclass(frozen=True)
class Match:
    """A training question found in a suite.

    Attributes:
        suite, item: where it was found.
        kind: "exact" (the same tokens) or "ngram".
        overlap: share of the item's n-grams that the question holds, in [0, 1].
        shared: the longest run of tokens that both hold.
    """

    suite: str
    item: str
    kind: str
    overlap: float
    shared: str


def tokens(text: str) -> list[str]:
    """The words and numbers of a text, in lower case and in Unicode's compatibility form."""
    return TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


class EvaluationIndex:
    r"""The questions of evaluation suites, made searchable.

    A question q matches an item e where both have the same tokens ("exact"), or where
    \( |G_n(q) \cap G_n(e)| / |G_n(e)| \ge \) `min_overlap` with \( G_n \) the set of n-grams of tokens ("ngram"). An item of
    fewer than n tokens is found by exact equality only. The share, rather than a single common n-gram (GPT-3's rule, with
    13), keeps phrases that many problems end with ("where m and n are relatively prime positive integers") from counting.

    Args:
        suites: for each suite its items, (id, question).
        n: length of an n-gram in tokens.
        min_overlap: least share of an item's n-grams, in (0, 1].
    """

    def __init__(
        self, suites: Mapping[str, Sequence[tuple[str, str]]], n: int = N, min_overlap: float = MIN_OVERLAP
    ) -> None:
        if n < 1:
            raise InputError(f"n is {n}: an n-gram has at least 1 token")
        if not 0 < min_overlap <= 1:
            raise InputError(f"min_overlap is {min_overlap}: it must be in (0, 1]")
        self.n, self.min_overlap = n, min_overlap
        self.sizes = {suite: len(items) for suite, items in suites.items()}
        self._items: list[tuple[str, str, list[str]]] = []
        self._exact: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._counts: list[int] = []
        for suite, items in suites.items():
            for item_id, question in items:
                words = tokens(question)
                place = len(self._items)
                self._items.append((suite, item_id, words))
                self._exact[tuple(words)].append(place)
                grams = ngrams(words, n)
                self._counts.append(len(grams))
                for gram in grams:
                    self._holders[gram].append(place)

    def matches(self, question: str) -> list[Match]:
        """The items that `question` matches, the largest overlap first."""
        words = tokens(question)
        if not words:
            return []
        exact = set(self._exact.get(tuple(words), ()))
        shared = Counter(place for gram in ngrams(words, self.n) for place in self._holders.get(gram, ()))
        found = [self._match(place, words, "exact", 1.0) for place in exact]
        for place, count in shared.items():
            overlap = count / self._counts[place]
            if place not in exact and overlap >= self.min_overlap:
                found.append(self._match(place, words, "ngram", overlap))
        return sorted(found, key=lambda match: (-match.overlap, match.kind, match.suite, match.item))

    def _match(self, place: int, words: list[str], kind: str, overlap: float) -> Match:
        suite, item_id, item_words = self._items[place]
        return Match(suite, item_id, kind, round(overlap, 4), " ".join(longest_shared_run(words, item_words)))


def ngrams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


def longest_shared_run(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """The longest run of tokens that both texts hold."""
    from difflib import SequenceMatcher

    run = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    return list(first[run.a : run.a + run.size])


@dataclass
class Report:
    """What was looked for and found; rows are counted from 0 in the source.

    Attributes:
        source: name of the training set.
        n, min_overlap, suites: of the index; `suites` holds the number of items of each.
        rows: training rows looked at.
        found: the matches of each row that has some, with its question.
        dropped: whether these rows were left out of the result.
    """

    source: str
    n: int
    min_overlap: float
    suites: dict[str, int]
    dropped: bool = False
    rows: int = 0
    found: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, index: EvaluationIndex, source: str, dropped: bool = False) -> "Report":
        return cls(source, index.n, index.min_overlap, index.sizes, dropped)

    def add(self, row: int, question: str, matches: Sequence[Match]) -> None:
        """Count a row, and keep it where it matches something."""
        self.rows += 1
        if matches:
            self.found[row] = {"question": question, "matches": [asdict(match) for match in matches]}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values: settings, counts by suite and kind, and every row found."""
        return {
            "source": self.source,
            "n": self.n,
            "min_overlap": self.min_overlap,
            "rows": self.rows,
            "contaminated_rows": len(self.found),
            "dropped": self.dropped,
            "suites": {name: {"items": size, **self._counts(name)} for name, size in self.suites.items()},
            "found": [{"row": row, **entry} for row, entry in self.found.items()],
        }

    def summary(self) -> str:
        """The report in words, as Markdown: a table by suite, then rows with what they share."""
        verb = "left out" if self.dropped else "kept"
        lines = [
            f"# Decontamination of {self.source}",
            "",
            f"{len(self.found)} of {self.rows} rows stand in an evaluation suite; they were {verb}. A row counts where its "
            f"question is the same as an item's after normalisation (exact), or holds at least {self.min_overlap:.0%} of "
            f"the item's {self.n}-grams of words and numbers (ngram).",
            "",
            "| suite | items | rows, exact | rows, ngram | items found |",
            "|---|---|---|---|---|",
        ]
        for name, size in self.suites.items():
            counts = self._counts(name)
            lines.append(f"| {name} | {size} | {counts['exact']} | {counts['ngram']} | {counts['items_found']} |")
        for name in self.suites:
            lines += self._examples(name)
        return "\n".join(lines) + "\n"

    def _of_suite(self, name: str) -> list[tuple[int, dict[str, Any]]]:
        """Each row that matches the suite, with its best match there."""
        best = []
        for row, entry in self.found.items():
            matches = [match for match in entry["matches"] if match["suite"] == name]
            if matches:
                best.append((row, matches[0]))
        return best

    def _counts(self, name: str) -> dict[str, int]:
        kinds = Counter(match["kind"] for _, match in self._of_suite(name))
        items = {
            match["item"] for entry in self.found.values() for match in entry["matches"] if match["suite"] == name
        }
        return {"exact": kinds["exact"], "ngram": kinds["ngram"], "items_found": len(items)}

    def _examples(self, name: str) -> list[str]:
        best = sorted(self._of_suite(name), key=lambda pair: -pair[1]["overlap"])
        if not best:
            return []
        lines = ["", f"## {name}", ""]
        for row, match in best[:SHOWN_PER_SUITE]:
            shared = match["shared"] if len(match["shared"]) <= 160 else match["shared"][:160] + " ..."
            lines.append(f"- row {row}, item {match['item']} ({match['kind']}, {match['overlap']:.0%}): {shared}")
        if len(best) > SHOWN_PER_SUITE:
            lines.append(f"- and {len(best) - SHOWN_PER_SUITE} more rows, in the JSON file")
        return lines

    def write(self, path: Path) -> Path:
        """Write the JSON report to `path` and the summary beside it (.md); return the latter's path."""
        summary = path.with_suffix(".md")
        write_atomically(path, [json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n"])
        write_atomically(summary, [self.summary()])
        return summary


def decontaminate(
    questions: Iterable[str], index: EvaluationIndex, source: str = "the training set"
) -> tuple[list[bool], Report]:
    """Look every question up: whether each is clean, and the report."""
    report = Report.of(index, source)
    for row, question in enumerate(questions):
        report.add(row, question, index.matches(question))
    return [row not in report.found for row in range(report.rows)], report
