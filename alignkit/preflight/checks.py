"""The whole pre-flight of a run: data, one rendered example, batches, memory. No weight is loaded."""

from typing import Any

from ..catalog import PAIR, Method
from ..data import column_specs, load_for_run, validate_rows
from ..errors import InputError
from .batch import batch_plan
from .memory import Sharding, optimizer_is_known
from .model_source import count_or_note, find_model, on_its_base, one_sentence, unreachable
from .rendering import Rendering, load_tokenizer, render
from .report import PreflightReport, Report
from .settings import find_device, memory_settings
from .verdict import judge_memory


def run_preflight(
    run: Any,
    world_size: int | None = None,
    device_memory: float | None = None,
    sharding: Sharding | None = None,
) -> Report:
    """Look at a run before any weight is loaded, and collect what is wrong instead of stopping at the first.

    Args:
        run: what `alignkit.config.load_run` returns.
        world_size: number of processes to plan for; None takes that of the running launcher.
        device_memory: memory of the device to plan for, in GiB; None takes this machine's.
        sharding: how the states will be split over the processes; None takes that of the launcher or the config.

    Returns:
        `PreflightReport`, or an `OnlineReport` for a trainer that generates; the run should not be started while its
        `errors` are not empty. A model that is not reachable (a Hub name, offline) is a skipped part; a local path that
        does not exist is an error.
    """
    if run.method.family == "diffusion":
        from .diffusion import run_diffusion_preflight

        return run_diffusion_preflight(run, world_size, device_memory)
    if generates(run.method):
        from .online import run_online_preflight

        return run_online_preflight(run, world_size, device_memory, sharding)
    report = PreflightReport(run.method.key)
    run = on_its_base(run, report)
    if hasattr(run.training, "warnings"):
        report.warnings += run.training.warnings()
    dataset = _check_data(run, report)
    path = find_model(run, report)
    if path is not None and dataset is not None and not report.errors:
        _check_rendering(run, path, dataset, report)
    if dataset is not None:
        _check_batches(run, dataset, world_size, report)
    if path is not None:
        check_memory(run, path, world_size, device_memory, sharding, report)
    return report


def generates(method: Method) -> bool:
    """Whether the trainer of a method generates what it trains on."""
    from trl import GRPOTrainer

    return issubclass(method.load_trainer(), GRPOTrainer)


def _check_data(run: Any, report: PreflightReport):
    training = run.training
    try:
        # The settings of a run may need fewer columns than its method can read.
        trainer_class = run.method.load_trainer()
        extra_columns = getattr(trainer_class, "extra_columns", None)
        report.columns = run.method.columns if extra_columns is None else (*PAIR, *extra_columns(training))
        specs = column_specs(report.columns, training)
        evaluate = str(getattr(training.eval_strategy, "value", training.eval_strategy)) != "no"
        train, evaluation, report.source = load_for_run(run.script, run.mixture, training.seed, evaluate)
        report.rows = len(train) if hasattr(train, "__len__") else None
        report.rows_checked = validate_rows(train, specs, source=report.source)
        if evaluation is not None:
            validate_rows(evaluation, specs, source=f"{report.source} (split {run.script.dataset_test_split})")
        check_rows = getattr(trainer_class, "check_rows", None)
        if check_rows is not None:
            check_rows(training, train)  # what else the trainer refuses before it loads a weight
        if report.rows is None and getattr(training, "precompute_ref_log_probs", False):
            raise InputError("`precompute_ref_log_probs` needs the whole data set; set it to false, or do not stream.")
    except InputError as error:
        report.errors.append(one_sentence(error))
        return None
    return train


def _check_rendering(run: Any, path: str, dataset, report: PreflightReport) -> None:
    try:
        tokenizer = load_tokenizer(path, run.model, run.training)
    except (OSError, ValueError) as error:
        report.skipped["Rendered example"] = unreachable(run, error)
        return
    try:
        report.rendering = render(dataset, tokenizer, run.training, run.method.load_trainer())
    except InputError as error:
        report.errors.append(f"{report.source}: {one_sentence(error)}")
        return
    _warn_of_lengths(report.rendering, run.training.max_length, report)


def _warn_of_lengths(rendering: Rendering, limit: int | None, report: PreflightReport) -> None:
    lengths = rendering.lengths
    if lengths.dropped == lengths.rows:
        report.errors.append(f"every sampled pair is dropped: none fits `max_length` ({limit}); raise it.")
    elif lengths.too_long or lengths.dropped:
        report.warnings.append(
            f"{lengths.too_long} of {lengths.rows} sampled pairs are longer than `max_length` ({limit}) and lose their "
            f"end, {lengths.dropped} are dropped; the longest needs {lengths.longest} tokens."
        )
    if lengths.not_prefix:
        report.warnings.append(
            f"in {lengths.not_prefix} of {lengths.rows} sampled pairs the tokenised prompt is not the beginning of "
            f"prompt plus response; its end {lengths.lost!r} is left out of training, but seen when generating."
        )


def _check_batches(run: Any, dataset, world_size: int | None, report: PreflightReport) -> None:
    try:
        report.batch = batch_plan(run.training, report.rows, world_size)
    except InputError as error:
        report.errors.append(one_sentence(error))


def check_memory(
    run: Any,
    path: str,
    world_size: int | None,
    device_memory: float | None,
    sharding: Sharding | None,
    report: PreflightReport,
) -> None:
    """Estimate the memory of a training from `path`, the model's folder or Hub name; the other arguments as above."""
    from trl import DPOTrainer

    if not issubclass(run.method.load_trainer(), DPOTrainer):
        report.skipped["Memory"] = "it is estimated only for trainers with a policy and a reference"
        return
    census = count_or_note(run, path, report)
    if census is None:
        return
    processes = run.training.world_size if world_size is None else world_size
    device = find_device(run.training, processes, device_memory)
    lengths = report.rendering.lengths if report.rendering is not None else None
    longest = lengths.longest if lengths is not None and lengths.complete else None
    settings = memory_settings(run, census, longest, processes, device, sharding)
    report.memory = judge_memory(census, settings, device)
    if not optimizer_is_known(settings.optimizer):
        report.warnings.append(f"the memory of optim {settings.optimizer} is not known; counted as AdamW.")
