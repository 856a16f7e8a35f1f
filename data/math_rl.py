"""Maths problems with checkable answers, for the online methods: GSM8K, MATH, DeepMath-103K, DAPO-Math-17k.

    python data/math_rl.py --source gsm8k --out outputs/data/gsm8k.jsonl
    python data/math_rl.py --source deepmath --streaming --limit 5000 --out outputs/data/deepmath.jsonl
    python data/math_rl.py --source math --decontaminate math500,aime24 --drop --out outputs/data/math.jsonl

Every row has `prompt` (one user message, put as the evaluation puts it: `--protocol`), `answer` (the gold that
math-verify reads), `solution` (the worked solution; null in DAPO) and `difficulty` (GSM8K: steps of the solution; MATH:
level 1 to 5; DeepMath: its rating, up to 10; DAPO: null). A question that comes again is left out.

`--decontaminate` looks every question up in evaluation suites (`all`: those of mathematics) and writes a report beside the
result, as JSON and as Markdown, that names the rows; `--drop` also leaves these rows out.
"""

import argparse
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from building import Row, Skip, build_parser, logger, refuse, run_builder, user

from alignkit.data.decontamination import MIN_OVERLAP, EvaluationIndex, N, Report
from alignkit.errors import InputError
from alignkit.eval.golds import after_hashes, last_box
from alignkit.eval.items import load_items
from alignkit.eval.protocols import PROTOCOLS, apply_protocol
from alignkit.eval.suites import load_suite, suite_names


# Arithmetic that GSM8K's solutions carry for a calculator: <<48/2=24>>.
CALCULATOR = re.compile(r"<<.*?>>")
# DAPO's own set wraps each problem in instructions for an answer after "Answer:".
DAPO_WRAPPING = re.compile(
    r"^Solve the following math problem step by step\. .*?\n\n(.*)\n\nRemember to put your answer on its own line.*$",
    re.DOTALL,
)


@dataclass(frozen=True)
class Problem:
    """A public row, read: `difficulty` on the scale of its set."""

    question: str
    answer: str
    solution: str | None
    difficulty: float | None


def gsm8k(row: Row) -> Problem:
    worked = CALCULATOR.sub("", row["answer"].rpartition("####")[0]).strip()
    return Problem(row["question"], after_hashes(row["answer"]), worked, float(len(worked.splitlines())))


def math(row: Row) -> Problem:
    if not row.get("answer") and "\\boxed" not in row["solution"]:
        raise ValueError("no \\boxed{} in the solution")
    answer = row["answer"] if row.get("answer") else last_box(row["solution"])
    level = re.search(r"\d+", str(row["level"]))
    return Problem(row["problem"], answer, row["solution"], float(level.group()) if level else None)


def deepmath(row: Row) -> Problem:
    return Problem(row["question"], row["final_answer"], row["r1_solution_1"], float(row["difficulty"]))


def dapo(row: Row) -> Problem:
    prompt = row["prompt"] if isinstance(row["prompt"], str) else row["prompt"][-1]["content"]
    wrapped = DAPO_WRAPPING.match(prompt.strip())
    return Problem(wrapped.group(1) if wrapped else prompt, row["reward_model"]["ground_truth"], None, None)


@dataclass(frozen=True)
class Source:
    """A public set: its name and configuration on the Hub, how a row is read, the columns that it fills."""

    dataset: str
    config: str | None
    read: Callable[[Row], Problem]
    columns: tuple[str, ...] = ("prompt", "answer", "solution")


SOURCES = {
    "gsm8k": Source("openai/gsm8k", "main", gsm8k),
    "math": Source("DigitalLearningGmbH/MATH-lighteval", None, math),
    "deepmath": Source("zwhe99/DeepMath-103K", None, deepmath),
    # The 17k questions of BytedTsinghua-SIA/DAPO-Math-17k once each (there a hundred times); that set is read too.
    "dapo": Source("open-r1/DAPO-Math-17k-Processed", "all", dapo, ("prompt", "answer")),
}


class Converter:
    """One public row -> at most one of ours; remembers the questions it has seen, and reports contaminated ones."""

    def __init__(self, read: Callable[[Row], Problem], index: EvaluationIndex | None, report: Report | None) -> None:
        self.read, self.index, self.report = read, index, report
        self.seen: set[str] = set()
        self.row = -1

    def __call__(self, row: Row, args: argparse.Namespace) -> Iterable[Row]:
        self.row += 1
        try:
            problem = self.read(row)
        except (ValueError, TypeError, AttributeError) as error:
            raise Skip("no answer can be read") from error
        question, answer = problem.question.strip(), str(problem.answer).strip()
        if not question or not answer:
            raise Skip("an empty question or answer")
        if question in self.seen:
            raise Skip("a question that was there before")
        self.seen.add(question)
        if self.index is not None and self.report is not None:
            matches = self.index.matches(question)
            self.report.add(self.row, question, matches)
            if matches and args.drop:
                raise Skip(f"in {matches[0].suite} ({matches[0].kind})")
        built = {"prompt": apply_protocol(args.protocol, user(question)), "answer": answer}
        return [{**built, "solution": problem.solution or None, "difficulty": problem.difficulty}]


def evaluation_index(names: str, n: int, min_overlap: float) -> EvaluationIndex:
    """The questions of the named suites (`all`: every one of mathematics that is not bundled)."""
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if chosen == ["all"]:
        suites = [load_suite(name) for name in suite_names()]
        suites = [suite for suite in suites if suite.kind == "math" and "bundled" not in suite.rows]
    else:
        suites = [load_suite(name) for name in chosen]
    other = [suite.name for suite in suites if suite.kind != "math"]
    if other or not suites:
        raise InputError(f"--decontaminate is {names!r}; name suites of mathematics, such as gsm8k,math500, or all")
    items = {suite.name: load_items(suite, "bare")[0] for suite in suites}
    questions = {
        name: [(item.item_id, item.prompt[-1]["content"]) for item in entries] for name, entries in items.items()
    }
    return EvaluationIndex(questions, n, min_overlap)


def report_path(args: argparse.Namespace) -> Path:
    """Where the report goes: `--report`, or beside the result."""
    if args.report is None and args.out is None:
        raise InputError("say where the report goes: --report FILE.json (there is no --out to put it beside).")
    path = args.report or args.out.with_name(f"{args.out.name}.decontamination.json")
    if path.suffix != ".json":
        raise InputError(f"--report is {path}; give a .json file (the summary is written beside it, as .md).")
    return path


def main(argv: list[str] | None = None) -> int:
    parser = build_parser(__doc__, SOURCES["gsm8k"].dataset)
    parser.add_argument("--source", choices=SOURCES, default="gsm8k", help="which set it is (default gsm8k)")
    parser.add_argument("--config", help="configuration of the set on the Hub (default: the source's)")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="boxed-cot", help="how a question is put")
    parser.add_argument("--decontaminate", metavar="SUITES", help="suites to look the questions up in, or all")
    parser.add_argument("--drop", action="store_true", help="leave out the questions that were found there")
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="default: OUT.decontamination.json")
    parser.add_argument("--ngram", type=int, default=N, help=f"tokens of an n-gram (default {N})")
    parser.add_argument(
        "--min-overlap", type=float, default=MIN_OVERLAP, help=f"least share of its n-grams (default {MIN_OVERLAP})"
    )
    known, _ = parser.parse_known_args(argv)
    source = SOURCES[known.source]
    is_default = known.dataset == parser.get_default("dataset")
    parser.set_defaults(dataset=source.dataset)
    config = known.config or (source.config if is_default else None)
    index = report = None
    try:
        if known.drop and not known.decontaminate:
            raise InputError("--drop leaves out what --decontaminate finds; name suites there.")
        if known.decontaminate:
            path = report_path(known)
            index = evaluation_index(known.decontaminate, known.ngram, known.min_overlap)
            report = Report.of(index, source.dataset if is_default else known.dataset, dropped=known.drop)
    except InputError as error:
        return refuse(parser, error)
    code = run_builder(parser, Converter(source.read, index, report), source.columns, argv, config_name=config)
    if report is not None and report.rows:
        logger.info("%d of %d rows found in the suites: %s", len(report.found), report.rows, report.write(path))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
