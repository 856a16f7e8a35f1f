"""The whole pre-flight of a diffusion run: data, pipeline, batches, memory. No weight is loaded."""

from typing import Any

from ...data.diffusion import check_images
from ...errors import InputError
from ...trainers.diffusion.families import family_class
from ...trainers.diffusion.launch import check_settings, load_data
from ...trainers.diffusion.pipelines import local_name, pipeline_index
from ..batch import batch_plan
from ..memory import optimizer_is_known
from ..model_source import one_line, one_sentence
from ..settings import find_device
from ..verdict import judge_estimate
from .census import PipelineCensus, count_pipeline
from .memory import DiffusionSettings, estimate_diffusion_memory, memory_changes
from .report import DiffusionReport


# Decoding images takes long; the trainer looks at all of them.
MAX_ROWS = 2000


def run_diffusion_preflight(
    run: Any, world_size: int | None = None, device_memory: float | None = None
) -> DiffusionReport:
    """Look at a run before any weight is loaded, and collect what is wrong; arguments as those of `run_preflight`."""
    report = DiffusionReport(run.method.key, columns=run.method.columns)
    try:
        check_settings(run)
    except InputError as error:
        report.errors.append(one_sentence(error))
    census = _count(run, report)
    resolution = run.training.resolution or (census.default_resolution if census else None)
    rows = _check_data(run, resolution, report)
    if rows is not None:
        _check_batches(run, rows, world_size, report)
    if census is not None and resolution is not None and not report.errors:
        _check_memory(run, census, resolution, world_size, device_memory, report)
    return report


def _count(run: Any, report: DiffusionReport) -> PipelineCensus | None:
    try:
        name = local_name(run.model.model_name_or_path)
        index = pipeline_index(name, run.model.model_revision)
        family = family_class(index["_class_name"])
        census = count_pipeline(name, index, run.model.model_revision)
    except InputError as error:
        if isinstance(error.__cause__, OSError):  # a name of the Hub that cannot be reached from here
            report.skipped["Pipeline and memory"] = one_line(error)
        else:
            report.errors.append(one_sentence(error))
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        report.skipped["Pipeline and memory"] = f"{run.model.model_name_or_path} cannot be counted ({one_line(error)})"
        return None
    resolution = run.training.resolution or census.default_resolution
    step = census.vae_factor * (census.denoiser.config.get("patch_size") or 1)
    if resolution % step:
        report.errors.append(f"`resolution` is {resolution}; this pipeline needs a multiple of {step}.")
    report.pipeline = (
        f"{census.pipeline_class}: {type(census.denoiser).__name__} of {census.denoiser_parameters / 1e6:,.4g} M weights, "
        f"predicts {census.prediction_type}; {resolution} x {resolution} pixels; "
        + ("LoRA on " + _targets_text(run, family.lora_targets) if run.model.use_peft else "all weights are trained")
    )
    return census


def _targets_text(run: Any, default: tuple[str, ...]) -> str:
    targets = run.model.lora_target_modules or default
    return targets if isinstance(targets, str) else ", ".join(targets)


def _check_data(run: Any, resolution: int | None, report: DiffusionReport) -> int | None:
    """How many rows the training data have; None after an error."""
    try:
        train, evaluation = load_data(run)
        report.source, report.rows = run.script.dataset_name, len(train)
        report.rows_checked = min(len(train), MAX_ROWS)
        columns = run.method.load_trainer().image_columns
        for dataset in (train, evaluation):
            if dataset is not None:
                check_images(dataset.select(range(min(len(dataset), MAX_ROWS))), columns, report.source, resolution)
    except InputError as error:
        report.errors.append(one_sentence(error))
        return None
    return report.rows


def _check_batches(run: Any, rows: int, world_size: int | None, report: DiffusionReport) -> None:
    training = run.training
    try:
        plan = report.batch = batch_plan(training, rows, world_size)
    except InputError as error:
        report.errors.append(one_sentence(error))
        return
    if run.method.key == "seppo":
        passes = 1 if training.guidance_scale == 1 else 2
        per_device = plan.per_device * plan.accumulation
        batches = -(-per_device // training.per_device_sampling_batch_size)
        report.sampling = (
            f"reference samples: {plan.effective:,} per update, on each device {batches:,} batches of up to "
            f"{training.per_device_sampling_batch_size} x {training.num_inference_steps} steps x {passes} "
            f"{'pass' if passes == 1 else 'passes'}"
        )


def _check_memory(
    run: Any,
    census: PipelineCensus,
    resolution: int,
    world_size: int | None,
    device_memory: float | None,
    report: DiffusionReport,
) -> None:
    training, model = run.training, run.model
    processes = training.world_size if world_size is None else world_size
    device = find_device(training, processes, device_memory)
    default_targets = family_class(census.pipeline_class).lora_targets
    given = model.lora_target_modules or default_targets
    settings = DiffusionSettings(
        images=2 * training.per_device_train_batch_size,
        resolution=resolution,
        weight_bytes=2 if model.dtype in ("bfloat16", "float16") else 4,
        autocast=bool(training.bf16 or training.fp16),
        lora_rank=model.lora_r if model.use_peft else 0,
        lora_targets=given if isinstance(given, str) else tuple(given),
        second_adapter=run.method.key == "seppo",
        gradient_checkpointing=bool(training.activation_checkpointing),
        ema=training.ema_decay is not None,
        text_on_device=not training.cache_latents,
        optimizer=str(getattr(training.optim, "value", training.optim)),
        processes=processes,
        device=device.kind,
    )
    try:
        report.memory = judge_estimate(
            settings,
            device,
            memory_changes(census, settings, default_targets),
            lambda changed: estimate_diffusion_memory(census, changed),
        )
    except ValueError as error:
        report.errors.append(f"`lora_target_modules` does not fit {model.model_name_or_path}: {one_line(error)}")
        return
    if not optimizer_is_known(settings.optimizer):
        report.warnings.append(f"the memory of optim {settings.optimizer} is not known; counted as AdamW.")
