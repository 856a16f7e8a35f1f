"""What is drawn and scored: captions, pipelines, sampling and the scorer, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignkit.errors import InputError
from alignkit.generation import SamplingParams
from alignkit.generation.image_sources import ImageSource, fingerprint_image_source, resolve_image_source
from alignkit.generation.images import ImageSampling, require_diffusers
from alignkit.rewards.images import check_prompts, parse_scorer, scorer_identity

from ..fingerprints import digest
from ..items import Item, pick, read_rows
from ..options import EvalOptions
from ..plan import Plan, Run, either, short_labels
from ..suites import Suite


PIPELINE = "pipeline"
PROMPT_COLUMNS = ["prompt", "caption", "text"]


def plan_images(names: Sequence[str], suite: Suite, options: EvalOptions, compare: str | None) -> Plan:
    """The plan of an image suite. The first model is the baseline of the others unless `compare` names one.

    Raises `InputError` for a caption, a scorer or a model that cannot be used.
    """
    require_diffusers()
    items, data = load_captions(suite, options)
    spec = scorer_spec(options)
    parse_scorer(spec)
    check_prompts(spec, [caption(item) for item in items])
    image_sampling(options)
    runs = [
        make_run(name, label, suite, options)
        for name, label in zip(names, short_labels([name.rstrip("/") for name in names]), strict=True)
    ]
    baseline = None
    if len(runs) > 1:
        baseline = 0 if compare is None else list(names).index(compare)
    n_samples = either(options.n_samples, suite.n_samples)
    sampling = SamplingParams(temperature=suite.temperature, max_new_tokens=suite.max_new_tokens, seed=options.seed)
    return Plan(suite, options, suite.protocol, sampling, n_samples, runs, baseline, items, data)


def load_captions(suite: Suite, options: EvalOptions) -> tuple[list[Item], str]:
    """The captions, and where they came from: `--data`, or the held-out captions of the bundled shapes."""
    if options.data is None:
        from alignkit.data.diffusion import held_out_captions

        captions, data = held_out_captions(), suite.rows["bundled"]
    else:
        data = options.data
        if options.scorer is None:
            raise InputError(f"--scorer is missing: {data} has captions of its own; give clip[:MODEL] or pickscore")
        rows = read_rows(Path(data).expanduser())
        captions = [str(pick(row, PROMPT_COLUMNS, index, data)) for index, row in enumerate(rows)]
        if not captions:
            raise InputError(f"{data} holds no rows")
    messages = [[{"role": "user", "content": own}] for own in captions[: options.limit]]
    return [Item(str(index), prompt) for index, prompt in enumerate(messages)], data


def make_run(name: str, label: str, suite: Suite, options: EvalOptions) -> Run:
    """Fingerprint one model; a LoRA is an adapter on its base."""
    source = image_source(name, options)
    model = fingerprint_image_source(source)
    settings = [suite.name, options.seed, image_sampling(options).to_dict(), options.dtype, device_kind(options)]
    adapter = source.lora is not None
    return Run(name, label, digest([model, settings]), model, adapter, source.base, PIPELINE)


def image_source(name: str, options: EvalOptions) -> ImageSource:
    """The source of a model name; `bundled/...` pipelines are built on first use."""
    from alignkit.data.diffusion import resolve_pipeline

    return resolve_image_source(name, options.base_model, resolve_pipeline)


def image_sampling(options: EvalOptions) -> ImageSampling:
    """How the images are drawn."""
    usual = ImageSampling()
    return ImageSampling(
        num_inference_steps=either(options.num_inference_steps, usual.num_inference_steps),
        guidance_scale=either(options.guidance_scale, usual.guidance_scale),
        height=options.resolution,
        width=options.resolution,
    )


def scorer_spec(options: EvalOptions) -> str:
    """The scorer: the user's, or the rule of the bundled shapes."""
    return either(options.scorer, "shapes")


def scorer_fingerprint(options: EvalOptions) -> str:
    """12 hex digits that change with the scorer's rule or model."""
    return digest(scorer_identity(scorer_spec(options)))


def device_kind(options: EvalOptions) -> str:
    from alignkit.generation.transformers_backend import pick_device

    return pick_device(options.device).split(":")[0]


def caption(item: Item) -> str:
    """The caption of an item."""
    return item.prompt[0]["content"]
