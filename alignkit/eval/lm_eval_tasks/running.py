"""Runs lm-eval's tasks on the plan's models: `lm_eval/<run>-<settings>.json`, and every sample in lm-eval's own format.

What is there is not run again. Inside a run, answered requests are in lm-eval's cache beside it, so that a killed one
goes on (sampled generations apart, which lm-eval does not cache).
"""

from __future__ import annotations

import json
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alignkit.errors import InputError

from ..answering import WEIGHTS
from ..fingerprints import digest
from ..plan import Plan, Run
from ..processes import Processes
from ..records import write_atomically
from ..suites import LM_EVAL


logger = logging.getLogger(__name__)


def task_names(suite: str) -> list[str]:
    """The tasks of a suite named `lm_eval:A,B`."""
    return suite.removeprefix(LM_EVAL).split(",")


def run_tasks(plan: Plan, folder: Path) -> None:
    """Run the suite's tasks on every model that has no result yet."""
    if not Processes.here().is_main:
        return
    manager = None
    for run in plan.runs:
        path = result_file(plan, run, folder)
        if path.exists():
            continue
        manager = manager or load_tasks(plan)
        outcome = evaluate_run(plan, run, folder, manager)
        write_samples(path.with_suffix(""), outcome.pop("samples", {}))
        kept = {name: outcome[name] for name in ("results", "versions", "n-shot", "n-samples") if name in outcome}
        write_atomically(path, json.dumps({**kept, "settings": task_settings(plan)}, indent=2, default=str) + "\n")


def check_installed(tasks: list[str]) -> None:
    """Refuse the suite where lm-eval is not installed or no task is named."""
    if not all(tasks):
        raise InputError("lm_eval: names no task: write lm_eval:ifeval,gsm8k")
    if find_spec("lm_eval") is None:
        raise InputError(f'lm-eval, which has {", ".join(tasks)}, is not installed: pip install "alignkit[lm-eval]"')


def load_tasks(plan: Plan) -> Any:
    """lm-eval's task index, with the user's own task files. Raises `InputError` for a task that it does not hold."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=plan.options.task_folder)
    unknown = [name for name in task_names(plan.suite.name) if name not in manager.all_tasks]
    if unknown:
        import difflib

        near = difflib.get_close_matches(unknown[0], manager.all_tasks, n=3)
        hint = f": did you mean {' or '.join(near)}?" if near else "; `lm-eval ls tasks` lists its tasks"
        raise InputError(f"lm-eval has no task {unknown[0]!r}{hint}")
    return manager


def evaluate_run(plan: Plan, run: Run, folder: Path, manager: Any) -> dict[str, Any]:
    """lm-eval's outcome for one model."""
    import lm_eval

    options = plan.options
    model = load_language_model(plan, run)
    chat = uses_chat_template(model, options.no_chat_template)
    try:
        outcome = lm_eval.simple_evaluate(
            model=model,
            tasks=task_names(plan.suite.name),
            num_fewshot=options.num_fewshot,
            limit=options.limit,
            apply_chat_template=chat,
            use_cache=str(folder / "lm_eval" / f"{run.fingerprint}-cache"),
            task_manager=manager,
            random_seed=options.seed,
            numpy_random_seed=options.seed,
            torch_random_seed=options.seed,
            fewshot_random_seed=options.seed,
            log_samples=True,
        )
    except (OSError, LookupError, ImportError, ConnectionError, ValueError) as error:
        # Data sets and resources that are fetched at run time; a task's further packages.
        raise InputError(
            f"lm-eval cannot run {plan.suite.name.removeprefix(LM_EVAL)} here ({type(error).__name__}: "
            f"{str(error).strip().splitlines()[0][:300] if str(error).strip() else 'no detail'})"
        ) from error
    if outcome is None:
        raise InputError(f"lm-eval gave no results for {plan.suite.name}")
    return {**outcome, "chat_template": chat}


def load_language_model(plan: Plan, run: Run) -> Any:
    """The run's model as lm-eval wants it: loaded as for every other suite, adapter included."""
    if run.source != WEIGHTS:
        raise InputError(f"{run.name} has no weights here: lm-eval's tasks need log-probabilities and its own prompts")
    if plan.options.backend != "transformers":
        raise InputError("lm-eval's tasks run with --backend transformers here")
    from lm_eval.models.huggingface import HFLM

    from alignkit.generation import load_tokenizer
    from alignkit.generation.transformers_backend import load_model

    options, source = plan.load_options(), plan.source(run)
    tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
    model = load_model(source, options, vocabulary_size=len(tokenizer))
    return HFLM(
        pretrained=model,
        tokenizer=tokenizer,
        batch_size=options.batch_size,
        chat_template_args=options.chat_template_kwargs,
    )


def uses_chat_template(model: Any, refused: bool) -> bool:
    """Whether prompts go through the model's chat template: where it has one, unless the user refuses it."""
    return bool(model.tokenizer.chat_template) and not refused


def task_settings(plan: Plan) -> dict[str, Any]:
    """What decides the figures beside the model."""
    from importlib.metadata import version

    options = plan.options
    return {
        "tasks": task_names(plan.suite.name),
        "num_fewshot": options.num_fewshot,
        "limit": options.limit,
        "chat_template": "not applied" if options.no_chat_template else "applied where there is one",
        "seed": options.seed,
        "lm_eval": version("lm_eval"),
    }


def result_file(plan: Plan, run: Run, folder: Path) -> Path:
    return folder / "lm_eval" / f"{run.fingerprint}-{digest(task_settings(plan))}.json"


def write_samples(folder: Path, samples: dict[str, list[dict[str, Any]]]) -> None:
    """Every sample, one file per task, as lm-eval's `--log_samples` writes them."""
    for task, rows in samples.items():
        lines = "".join(json.dumps(row, default=str) + "\n" for row in rows)
        write_atomically(folder / f"samples_{task}.jsonl", lines)
