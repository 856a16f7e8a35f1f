"""`alignkit eval`: models to figures with intervals, resumable, and a report.

alignkit eval MODEL [MORE ...] --suite A[,B] --out DIR [--judge SPEC] [--compare BASE]   the whole line
alignkit eval generate MODEL [MORE ...] --suite A[,B] --out DIR                          one stage alone;
alignkit eval judge|grade|score|report --out DIR                                         the later ones read the plan
alignkit eval score alpaca_eval2|arena_hard_v01|arena_hard_v2|mt_bench ... --out DIR     stored judgements, not judged again
alignkit eval grade --predictions P.jsonl.gz [--gold G.jsonl.gz] [--out DIR]             stored answers
alignkit eval suites                                                                     what there is
"""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from alignkit.errors import InputError


HELP = "evaluate a model or an adapter on a suite"
# The words after `eval` mean different things after different verbs, so each verb has a parser of its own.
ACCEPTS_EXTRA = True
OWN_HELP = True
# First words with a meaning of their own; a model folder of that name is written ./grade.
LATER_STAGES = ("judge", "grade", "score", "report")
VERBS = ("generate", *LATER_STAGES, "suites")
# What the later stages may still change about a plan, and which stage's help speaks of it.
LATE_OPTIONS = {
    "judge": ("judge", "score"),
    "concurrency": ("judge",),
    "max_cost": ("judge",),
    "allow_missing": ("judge", "score"),
    "gamed": ("score",),
    "difficulty": ("score",),
    "engine": ("judge",),
}
# The sections of the help; what no other section has is about the answers.
ANSWERS = "answers"
GROUPS: dict[str, tuple[str, ...]] = {
    "questions": ("limit", "protocol", "data"),
    ANSWERS: (),
    "grading (maths suites)": ("tolerance", "num_workers", "deadline"),
    "judging (judged suites)": tuple(LATE_OPTIONS),
    "images (image_reward)": ("scorer", "num_inference_steps", "guidance_scale", "resolution"),
    "tasks of lm-eval": ("task_folder", "num_fewshot", "no_chat_template"),
    "figures and report": ("num_resamples", "confidence", "num_examples"),
}
USAGE = "alignkit eval {verb}MODEL [MORE ...] --suite NAME[,NAME ...] --out DIR [--judge SPEC] [--compare BASE] [OPTION ...]"
DESCRIPTIONS = {
    "": "Answer, grade or judge, score and report: models or adapters on one suite or several, resumable.",
    "generate": "The answers alone; the later stages go on from --out.",
    "judge": "Have the answers in --out judged. What is judged is not asked again.",
    "grade": "Grade the answers in --out; or stored answers: alignkit eval grade --predictions FILE [--gold FILE].",
    "score": "Figures of what is judged or graded in --out; or of stored judgements: "
    "alignkit eval score alpaca_eval2|arena_hard_v01|arena_hard_v2|mt_bench --help.",
    "report": "Write report.md and report.html of --out again.",
    "score alpaca_eval2": "Official figures from stored annotations; nothing is judged.",
    "score arena_hard_v01": "Scores from stored battles or verdicts; nothing is judged.",
    "score arena_hard_v2": "Scores from stored verdicts; nothing is judged.",
    "score mt_bench": "Scores from stored ratings (JUDGE_single.jsonl); nothing is judged.",
    "stored": "Grade stored answers (rows with response, responses or solution, and gold).",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take every word as it is; `run` parses them for the verb."""
    parser.add_argument("words", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace, extra: list[str]) -> int:
    """Run the whole line, one stage, score what is stored, or list the suites."""
    # Flags before the first other word are in `extra`. `--max-cost` and `--max_cost` are one flag.
    words = [with_underscores(word) for word in [*extra, *args.words]]
    verb = words[0] if words and words[0] in VERBS else None
    rest = words[1:] if verb else words
    if verb == "suites":
        from alignkit.cli.eval_tables import print_suites

        print_suites()
        return 0
    if verb == "score" and rest and not rest[0].startswith("-"):
        return score_stored(rest)
    if verb == "grade" and any(word.split("=")[0] == "--predictions" for word in rest):
        return grade_stored(rest)
    if verb in LATER_STAGES:
        return later_stage(verb, rest)
    return evaluate_models(rest, whole=verb is None)


def with_underscores(word: str) -> str:
    """A flag with its dashes as underscores; any other word unchanged."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}"


def evaluate_models(words: list[str], whole: bool) -> int:
    """The whole line, or the generation alone."""
    verb = "" if whole else "generate"
    parser = make_parser(verb)
    parser.usage = USAGE.format(verb=f"{verb} " if verb else "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (__doc__ or "").split("\n\n", 1)[1]
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="model, adapter, pipeline or LoRA folder, Hub name, bundled/tiny-math, bundled/tiny-sd, endpoint:MODEL[@URL], an endpoint file (.yaml) "
        f"or a file of outputs (model_outputs.json); or first {', '.join(VERBS)}",
    )
    parser.add_argument(
        "--suite", metavar="NAMES", help="what to evaluate on, commas between several (`alignkit eval suites`)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the records and the report")
    parser.add_argument("--compare", metavar="BASE", help="evaluate BASE too and compare the others with it, paired")
    add_option_flags(parser)
    args = parser.parse_intermixed_args(words)
    if args.out is None:
        raise InputError("--out is missing: the folder that the records and the report go to")
    plan(args, whole)
    return run_and_print(["generate", *(LATER_STAGES if whole else ())], args.out)


def plan(args: argparse.Namespace, whole: bool) -> None:
    """Check what was asked for and write the plan."""
    from alignkit.eval.options import EvalOptions
    from alignkit.eval.runner import plan_generations
    from alignkit.eval.suites import suite_names

    if args.suite is None:
        raise InputError(f"--suite is missing: there are {', '.join(suite_names())}, and lm_eval:TASK[,TASK ...]")
    values = {field.name: getattr(args, field.name) for field in fields(EvalOptions)}
    for name in ("chat_template_kwargs", "vllm_kwargs"):
        values[name] = parse_object(values[name], name)
    plan_generations(args.models, args.suite, args.out, EvalOptions(**values), args.compare, to_the_end=whole)


def later_stage(verb: str, words: list[str]) -> int:
    """One of the stages that read the plan."""
    from alignkit.eval.runner import change_options

    if (words and not words[0].startswith("-")) or "--suite" in words:
        raise InputError(f"`alignkit eval {verb}` reads models and suite from the plan in --out: give --out only")
    parser = make_parser(verb)
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder of the records and the report")
    add_late_flags(parser, verb)
    args = parser.parse_args(words)
    change_options(args.out, **{name: getattr(args, name) for name in LATE_OPTIONS})
    return run_and_print([verb], args.out)


def run_and_print(stages: list[str], folder: Path) -> int:
    """Run stages and print what they found."""
    from alignkit.cli.eval_tables import print_results
    from alignkit.eval.processes import Processes
    from alignkit.eval.runner import run_stages

    for results in run_stages(stages, folder).values():
        if Processes.here().is_main:
            print_results(results)
    if "report" in stages and Processes.here().is_main:
        from alignkit.eval.results import report_paths

        for path in report_paths(folder).values():
            if path.exists():
                print(path)
    return 0


def score_stored(words: list[str]) -> int:
    """`alignkit eval score NAME ...`: figures of stored judgements into `scores.json`."""
    from alignkit.cli.eval_tables import print_scores
    from alignkit.eval.stored import load_module, write_scores

    name = words[0]
    module = load_module(name)
    parser = make_parser(f"score {name}")
    module.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that scores.json is written to")
    args = parser.parse_args(words[1:])
    scores = module.score(name, args)
    path = write_scores(args.out, scores)
    print_scores(scores)
    print(path)
    return 0


def grade_stored(words: list[str]) -> int:
    """`alignkit eval grade --predictions FILE`: grade stored answers."""
    from alignkit.cli.eval_tables import print_scores
    from alignkit.eval.stored import write_scores
    from alignkit.eval.stored_answers import add_arguments, grade_predictions

    parser = make_parser("grade")
    parser.description = DESCRIPTIONS["stored"]
    add_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder that scores.json and grades.jsonl are written to"
    )
    args = parser.parse_args(words)
    scores = grade_predictions(args)
    print_scores(scores)
    if args.out is not None:
        print(write_scores(args.out, scores))
    return 0


def make_parser(verb: str) -> argparse.ArgumentParser:
    program = f"alignkit eval {verb}".strip()
    return argparse.ArgumentParser(prog=program, description=DESCRIPTIONS[verb], allow_abbrev=False)


def add_option_flags(parser: argparse.ArgumentParser) -> None:
    """One flag per field of `EvalOptions`, in sections."""
    from alignkit.eval.options import EvalOptions

    sections = {title: parser.add_argument_group(title) for title in GROUPS}
    title_of = {name: title for title, names in GROUPS.items() for name in names}
    for field in fields(EvalOptions):
        shown = field.default is not None and field.default is not False
        help_text = field.metadata["help"] + (f" (default: {field.default})" if shown else "")
        add_flag(sections[title_of.get(field.name, ANSWERS)], field, field.default, help_text)


def add_late_flags(parser: argparse.ArgumentParser, verb: str) -> None:
    """The flags of a later stage: None where one is not given, so that the plan's stays. All stages take all of them, so
    that one set of flags does for a line of commands; a stage's help names its own."""
    from alignkit.eval.options import EvalOptions

    for field in fields(EvalOptions):
        if field.name in LATE_OPTIONS:
            own = verb in LATE_OPTIONS[field.name]
            add_flag(parser, field, None, field.metadata["help"] if own else argparse.SUPPRESS)


def add_flag(parser: Any, field: Any, default: Any, help_text: str) -> None:
    keywords = {name: value for name, value in field.metadata.items() if name != "help"}
    parser.add_argument(f"--{field.name}", default=default, help=help_text.replace("%", "%%"), **keywords)


def parse_object(text: str | None, flag: str) -> dict[str, Any] | None:
    """The JSON object given to a flag."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"--{flag} is {text!r}, which is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"--{flag} is {text!r}: it must be a JSON object, such as '{{\"enable_thinking\": false}}'")
    return value
