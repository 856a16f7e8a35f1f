"""The whole pre-flight of an online run: parts, data, rewards, one rendered prompt, batches, memory."""

from itertools import islice
from typing import Any

from ...data import column_specs, load_for_run, validate_rows
from ...data.validation import STREAM_ROWS
from ...errors import InputError
from ...parts.listing import part_info
from ...parts.table import IDENTITY, PARTS, SLOTS
from ...rewards import ResolvedRewards
from ..memory import Sharding, optimizer_is_known
from ..model_source import count_or_note, find_model, on_its_base, one_line, one_sentence, unreachable
from ..rendering import load_tokenizer
from ..settings import find_device
from .batch import online_plan
from .critic import check_further_models
from .memory import judge_online, online_settings
from .rendering import render_prompts, room_of
from .report import OnlineReport, PartLine
from .rewards import TRIED_ROWS, is_tried, require_columns, try_rewards


def run_online_preflight(
    run: Any, world_size: int | None, device_memory: float | None, sharding: Sharding | None
) -> OnlineReport:
    """As `run_preflight`, for a trainer that generates.

    `run.training` must have been made for `world_size` processes (`alignkit.config.plan_for`): its generation batch is
    shared out over them.
    """
    from ...trainers.online.rewards import named_rewards

    report = OnlineReport(run.method.key, max_completion_length=run.training.max_completion_length)
    run = on_its_base(run, report)
    report.parts = part_lines(run.training)
    report.warnings += run.training.warnings()
    check_further_models(run, report)
    rewards = None
    try:
        rewards = named_rewards(None, run.training)
    except InputError as error:
        report.errors.append(one_sentence(error))
    dataset = _check_data(run, rewards, report)
    path = find_model(run, report)
    if dataset is not None and rewards is not None:
        _check_rewards(rewards, dataset, report)
    if path is not None and dataset is not None:
        _check_prompts(run, path, dataset, report)
    if dataset is not None:
        _check_batches(run, report, run.training.world_size if world_size is None else world_size)
    if path is not None and report.plan is not None and report.prompts is not None:
        _check_memory(run, path, rewards, device_memory, sharding, report)
    return report


def part_lines(training: Any) -> list[PartLine]:
    """What is in each of the seven slots."""
    lines = []
    for slot in SLOTS:
        choice = training.chosen_parts.get(slot)
        name = choice.name if choice is not None else IDENTITY.get(slot, training.loss_type)
        # TRL knows losses that have no part of their own.
        summary = part_info(slot, name).summary if name in PARTS[slot] else "TRL's loss of that name"
        settings = {} if choice is None else dict(vars(choice.config))
        lines.append(PartLine(slot, name, summary, settings, choice is not None))
    return lines


def _check_data(run: Any, rewards: ResolvedRewards | None, report: OnlineReport):
    training = run.training
    try:
        evaluate = str(getattr(training.eval_strategy, "value", training.eval_strategy)) != "no"
        train, evaluation, report.source = load_for_run(run.script, run.mixture, training.seed, evaluate)
        report.rows = len(train) if hasattr(train, "__len__") else None
        specs = column_specs(run.method.columns, training)
        report.columns = run.method.columns
        report.rows_checked = validate_rows(train, specs, source=report.source)
        splits = {report.source: train}
        training.check_columns(_columns(train), report.source)
        if evaluation is not None:
            splits[f"{report.source} (split {run.script.dataset_test_split})"] = evaluation
            validate_rows(evaluation, specs, source=list(splits)[1])
            report.evaluation = _evaluation(training, evaluation)
        if rewards is not None:
            for source, part in splits.items():
                columns = require_columns(rewards, _columns(part), source)
                for column in columns:
                    _count_empty(part, column, source, report)
            report.columns = tuple(dict.fromkeys((*run.method.columns, *columns)))
    except InputError as error:
        report.errors.append(one_sentence(error))
        return None
    return train


def _columns(dataset) -> list[str]:
    return list(dataset.column_names or next(iter(dataset)))


def _count_empty(dataset, column: str, source: str, report: OnlineReport) -> None:
    """Warn of rows in which a reward finds nothing in a column that it reads."""
    part = dataset.select_columns([column]) if dataset.column_names else dataset
    rows = islice(part, None if hasattr(dataset, "__len__") else STREAM_ROWS)
    empty = [index for index, row in enumerate(rows) if row[column] in (None, "", [])]
    if empty:
        report.warnings.append(
            f"{source}: `{column}`, which a reward reads, is empty in {len(empty):,} rows (first: row {empty[0]}, counted "
            "from 0); such rows may stay without a reward."
        )


def _evaluation(training: Any, evaluation) -> str:
    per_prompt = training.num_generations_eval or training.num_generations
    rows = f"{len(evaluation):,} rows" if hasattr(evaluation, "__len__") else "the rows of the test split"
    strategy = str(getattr(training.eval_strategy, "value", training.eval_strategy))
    steps = training.eval_steps or training.logging_steps
    when = "every epoch" if strategy == "epoch" else f"every {steps:g} {'updates' if steps >= 1 else 'of the run'}"
    return f"evaluation {when}: {rows}, {per_prompt} completions to each"


def _check_rewards(rewards: ResolvedRewards, dataset, report: OnlineReport) -> None:
    rows = list(islice(iter(dataset), TRIED_ROWS))
    try:
        report.rewards, warnings = try_rewards(rewards, rows)
        report.warnings += warnings
    except InputError as error:
        report.errors.append(one_sentence(error))


def _check_prompts(run: Any, path: str, dataset, report: OnlineReport) -> None:
    try:
        tokenizer = load_tokenizer(path, run.model, run.training)
        room = room_of(path, run.model, run.training)
    except (OSError, ValueError) as error:
        report.skipped["Rendered prompt and memory"] = unreachable(run, error)
        return
    try:
        prompts = render_prompts(dataset, tokenizer, run.training, run.method.load_trainer(), room)
    except InputError as error:
        report.errors.append(f"{report.source}: {one_sentence(error)}")
        return
    report.prompts = prompts
    if prompts.too_long:
        report.warnings.append(
            f"{prompts.too_long} of {prompts.rows} sampled prompts leave less than `max_completion_length` "
            f"({run.training.max_completion_length}) of the {prompts.room:,} positions that the model has; the longest "
            f"has {prompts.longest} tokens. Leave such rows out, or lower `max_completion_length`."
        )
    if prompts.closed:
        report.warnings.append(
            f"{prompts.closed} of {prompts.rows} sampled prompts end with {prompts.ends[0]!r}, after which the model has "
            "learned to say nothing: look at the chat template or at the tokenizer's end token."
        )


def _check_batches(run: Any, report: OnlineReport, processes: int) -> None:
    try:
        report.plan = online_plan(run.training, report.rows, processes)
    except InputError as error:
        report.errors.append(one_sentence(error))


def _check_memory(
    run: Any,
    path: str,
    rewards: ResolvedRewards | None,
    device_memory: float | None,
    sharding: Sharding | None,
    report: OnlineReport,
) -> None:
    assert report.plan is not None and report.prompts is not None
    census = count_or_note(run, path, report)
    if census is None:
        return
    device = find_device(run.training, report.plan.processes, device_memory)
    counted = 0
    for func, name in zip(rewards.funcs, rewards.names, strict=True) if rewards is not None else ():
        if isinstance(func, str):
            try:
                counted += classifier_parameters(func, run.training)
            except (OSError, ValueError) as error:
                report.uncounted.append(f"{name} ({one_line(error)})")
        elif not is_tried(func):
            report.uncounted.append(name)
    try:
        settings = online_settings(run, census, report.plan, report.prompts.longest, device, sharding, counted)
    except (OSError, ValueError) as error:  # a critic's model that cannot be read from here
        report.skipped["Memory"] = one_line(error)
        return
    report.memory = judge_online(census, settings, device)
    if not optimizer_is_known(settings.optimizer):
        report.warnings.append(f"the memory of optim {settings.optimizer} is not known; counted as AdamW.")


def classifier_parameters(path: str, training: Any) -> int:
    """Parameters of a reward model, counted on the `meta` device from its configuration."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(path, trust_remote_code=training.trust_remote_code, num_labels=1)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())
