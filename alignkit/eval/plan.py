"""What is evaluated: the models, the items and the settings, fingerprinted and written down before anything is done.

Layout of an output folder (one suite each):

    plan.json                     this plan: what the report is about
    items.jsonl                   the items of the plan: prompt, gold, groups
    prompts/<run>.json            the prompts as the model reads them
    generations/<run>.jsonl       completions, append-only; <run> is a fingerprint, so settings never mix
    grades/<run>-<grader>.jsonl   their grades, append-only
    votes/<run>-<grader>.jsonl    which answers of an item are equivalent (several samples per item)
    judgments/<run>-<judge>.jsonl the judge's replies, append-only (judged suites)
    images/<run>/                 the images (image suites)
    results.json report.md report.html
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError
from alignkit.generation import (
    LoadOptions,
    ModelSource,
    SamplingParams,
    derive_seed,
    fingerprint_source,
    resolve_source,
)

from .answering import (
    ENDPOINT,
    OUTPUTS,
    WEIGHTS,
    display_name,
    fingerprint_endpoint,
    fingerprint_file,
    read_outputs,
    source_kind,
)
from .fingerprints import digest
from .items import Item, load_items
from .options import EvalOptions
from .protocols import apply_protocol
from .records import Record, write_atomically
from .suites import Suite, load_suite


if TYPE_CHECKING:
    from .judging.benchmark import JudgedBenchmark

PLAN_FILE = "plan.json"
ITEMS_FILE = "items.jsonl"
VLLM_SPREADING = ("tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "gpu_memory_utilization")


@dataclass(frozen=True)
class Run:
    """One model under the plan's settings. `fingerprint` names its records; `source` says what answers for it: weights,
    an endpoint or a file of outputs."""

    name: str
    label: str
    fingerprint: str
    model_fingerprint: str
    adapter: bool
    base: str | None
    source: str = WEIGHTS


@dataclass(frozen=True)
class Plan:
    """An evaluation: `runs` in the order of the report; `baseline` is the place of the comparison model in it;
    `data` says where the items came from."""

    suite: Suite
    options: EvalOptions
    protocol: str
    sampling: SamplingParams
    n_samples: int
    runs: list[Run]
    baseline: int | None
    items: list[Item]
    data: str

    @property
    def tolerance(self) -> float | None:
        tolerance = self.suite.tolerance if self.options.tolerance is None else self.options.tolerance
        return tolerance or None

    @cached_property
    def benchmark(self) -> "JudgedBenchmark":
        """The benchmark of a judged suite."""
        from .judging.benchmark import load_benchmark

        return load_benchmark(self.suite, self.options)

    def load_options(self) -> LoadOptions:
        """How the models are loaded."""
        options = self.options
        return LoadOptions(
            backend=options.backend,
            dtype=options.dtype,
            device=options.device,
            load_in_4bit=options.load_in_4bit,
            base_model=options.base_model,
            chat_template=read_template(options.chat_template),
            chat_template_kwargs=options.chat_template_kwargs,
            trust_remote_code=options.trust_remote_code,
            batch_size=options.batch_size,
            gpu_memory_utilization=options.gpu_memory_utilization,
            vllm_kwargs=options.vllm_kwargs,
        )

    def source(self, run: Run) -> ModelSource:
        """The model of a run."""
        return resolve_model_name(run.name, self.options.base_model)

    def read_outputs(self, run: Run) -> dict[str, str]:
        """The outputs of a run that is a file, by item id."""
        if self.suite.kind == "judged":
            return self.benchmark.read_outputs(run.name, self.items)
        return read_outputs(run.name, self.items)

    def answer(self, run: Run, record: Record) -> str:
        """An answer as the judge, and the next turn of its dialogue, see it; a file's outputs are taken as they are."""
        return record["text"] if run.source == OUTPUTS else self.benchmark.answer(record["text"])

    def next_item(self, run: Run, item: Item, record: Record) -> Item | None:
        """The next turn of a dialogue, after the answer in `record`; None where the dialogue ends."""
        return None if self.suite.turns == 1 else self.benchmark.next_turn(item, self.answer(run, record))

    @property
    def temperatures(self) -> dict[str, float]:
        """The suite's temperatures by category, unless the user gave one for all."""
        return self.suite.temperatures if self.options.temperature is None else {}

    def sampling_of(self, item: Item) -> SamplingParams:
        """How the answer to an item is drawn."""
        own = self.temperatures.get(item.groups.get("category", ""))
        return self.sampling if own is None else replace(self.sampling, temperature=own)

    def seed(self, item: Item, sample: int) -> int:
        return derive_seed(self.sampling.seed, item.item_id, sample)

    def write(self, folder: Path) -> None:
        """Write plan and items. Raises `InputError` if the folder belongs to another suite."""
        existing = folder / PLAN_FILE
        if existing.exists():
            other = read_json(existing)["suite"]["name"]
            if other != self.suite.name:
                raise InputError(f"{folder} holds an evaluation on suite {other}: give another --out")
        lines = [json.dumps(item.to_dict()) + "\n" for item in self.items]
        write_atomically(folder / ITEMS_FILE, "".join(lines))
        plan = {
            "suite": self.suite.to_dict(),
            "options": self.options.to_dict(),
            "protocol": self.protocol,
            "sampling": self.sampling.to_dict(),
            "n_samples": self.n_samples,
            "runs": [asdict(run) for run in self.runs],
            "baseline": self.baseline,
            "data": self.data,
        }
        write_atomically(existing, json.dumps(plan, indent=2) + "\n")


def make_plan(models: Sequence[str], suite: str, options: EvalOptions, compare: str | None = None) -> Plan:
    """Resolve everything and fingerprint it; nothing is loaded yet. Raises `InputError` for what cannot be evaluated."""
    names = list(dict.fromkeys(models if compare is None or compare in models else [compare, *models]))
    if not names:
        raise InputError("no model is given")
    loaded = load_suite(suite)
    if loaded.kind == "image_reward":
        from .image_reward.planning import plan_images

        return plan_images(names, loaded, options, compare)
    sampling = SamplingParams(
        temperature=either(options.temperature, loaded.temperature),
        top_p=either(options.top_p, loaded.top_p),
        top_k=either(options.top_k, loaded.top_k),
        max_new_tokens=either(options.max_new_tokens, loaded.max_new_tokens),
        seed=options.seed,
    )
    n_samples = either(options.n_samples, loaded.n_samples)
    if n_samples > 1 and sampling.greedy:
        raise InputError(f"n_samples is {n_samples}, but greedy samples are all the same: set --temperature above 0")
    if n_samples > 1 and loaded.turns > 1:
        raise InputError(f"n_samples is {n_samples}, but suite {suite} has one answer per turn: leave it out")
    protocol = either(options.protocol, loaded.protocol)
    items, data = suite_items(loaded, protocol, options)
    settings = run_settings(loaded, protocol, sampling, options)
    runs = [
        make_run(name, label, sampling, settings, options)
        for name, label in zip(names, short_labels([display_name(name) for name in names]), strict=True)
    ]
    baseline = None if compare is None else names.index(compare)
    plan = Plan(loaded, options, protocol, sampling, n_samples, runs, baseline, items, data)
    plan.load_options()  # refuses what cannot be loaded before anything is written
    if loaded.kind == "judged" and options.judge is not None:
        from .judging.stage import plan_judge

        plan_judge(plan)
    for run in runs:
        if run.source == OUTPUTS:
            plan.read_outputs(run)
    return plan


def make_run(name: str, label: str, sampling: SamplingParams, settings: dict[str, Any], options: EvalOptions) -> Run:
    """Fingerprint one model, whatever answers for it."""
    kind = source_kind(name)
    if kind == ENDPOINT:
        model = fingerprint_endpoint(name, sampling)
        asked = [settings[name] for name in ("suite", "protocol", "temperatures") if name in settings]
        return Run(name, label, digest([model, *asked]), model, False, None, kind)
    if kind == OUTPUTS:
        model = fingerprint_file(name)
        return Run(name, label, digest([model, settings["suite"]]), model, False, None, kind)
    source = resolve_model_name(name, options.base_model)
    model = fingerprint_source(source)
    base = source.base.name if source.base else None
    return Run(source.name, label, digest([model, settings]), model, source.is_adapter, base)


def suite_items(suite: Suite, protocol: str, options: EvalOptions) -> tuple[list[Item], str]:
    """The items of a suite and where they came from. A judged suite's own class reads them, and lm-eval
    has its own."""
    if suite.kind == "lm_eval":
        from .lm_eval_tasks.running import check_installed, task_names

        check_installed(task_names(suite.name))
        return [], "lm-eval"
    if suite.kind != "judged":
        return load_items(suite, protocol, options.data, options.limit)
    from .judging.benchmark import load_benchmark

    items, data = load_benchmark(suite, options).load_items()
    return [replace(item, prompt=apply_protocol(protocol, item.prompt)) for item in items], data


def read_plan(folder: Path) -> Plan:
    """Read the plan of an output folder."""
    path = folder / PLAN_FILE
    if not path.is_file():
        raise InputError(
            f"{folder} holds no {PLAN_FILE}: run `alignkit eval generate MODEL --suite NAME --out {folder}`"
        )
    plan = read_json(path)
    suite = Suite(**{**plan["suite"], "group_by": tuple(plan["suite"]["group_by"])})
    lines = (folder / ITEMS_FILE).read_text(encoding="utf-8").splitlines()
    return Plan(
        suite,
        EvalOptions(**plan["options"]),
        plan["protocol"],
        SamplingParams(**plan["sampling"]),
        plan["n_samples"],
        [Run(**run) for run in plan["runs"]],
        plan["baseline"],
        [Item(**json.loads(line)) for line in lines],
        plan["data"],
    )


def run_settings(suite: Suite, protocol: str, sampling: SamplingParams, options: EvalOptions) -> dict[str, Any]:
    """Everything beside the model that changes completions. The prompt itself is in each record's hash.

    Greedy completions do not depend on seed, top_p and top_k, so these count only where tokens are drawn. Not in it,
    so that they can grow in the same folder: the limit and the number of samples.
    """
    drawn = {"max_new_tokens": sampling.max_new_tokens} if sampling.greedy else sampling.to_dict()
    device, dtype = options.device, options.dtype
    if options.backend == "transformers":
        from alignkit.generation.transformers_backend import pick_device, pick_dtype

        device = pick_device(options.device).split(":")[0]
        dtype = str(pick_dtype(options.dtype, device))
    return {
        "suite": suite.name,
        "protocol": protocol,
        "sampling": drawn,
        **({"temperatures": suite.temperatures} if suite.temperatures and options.temperature is None else {}),
        "backend": options.backend,
        "device": device,
        "dtype": dtype,
        "load_in_4bit": options.load_in_4bit,
        "chat_template": read_template(options.chat_template),
        "chat_template_kwargs": options.chat_template_kwargs,
        **({"vllm_kwargs": drawn_kwargs} if (drawn_kwargs := vllm_settings(options)) else {}),
    }


def vllm_settings(options: EvalOptions) -> dict[str, Any]:
    """The arguments of vLLM that may change completions: not how the work is spread."""
    given = options.vllm_kwargs or {}
    return {name: value for name, value in given.items() if name not in VLLM_SPREADING}


def resolve_model_name(name: str, base_model: str | None) -> ModelSource:
    """The source of a model name; `bundled/...` names are aliases."""
    from alignkit.data.bundled import resolve_model

    resolve: Callable[[str], str] = resolve_model
    return resolve_source(name, base_model=base_model, resolve=resolve)


def short_labels(names: Sequence[str]) -> list[str]:
    """The shortest tails of the names that tell them apart."""
    parts = [name.replace("\\", "/").rstrip("/").split("/") for name in names]
    labels = []
    for own in parts:
        width = 1
        while width < len(own) and sum(other[-width:] == own[-width:] for other in parts) > 1:
            width += 1
        if own[-1].startswith("checkpoint-"):
            width = max(width, 2)
        labels.append("/".join(own[-width:]))
    return labels


def read_template(path: str | None) -> str | None:
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"chat template file {path} does not exist")
    return file.read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error


def either(value: Any, default: Any) -> Any:
    return default if value is None else value
