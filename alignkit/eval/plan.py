"""What is evaluated: the models, the items and the settings, fingerprinted and written down before anything is done.

Layout of an output folder (one suite each):

    plan.json                     this plan: what the report is about
    items.jsonl                   the items of the plan: prompt, gold, groups
    prompts/<run>.json            the prompts as the model reads them
    generations/<run>.jsonl       completions, append-only; <run> is a fingerprint, so settings never mix
    grades/<run>-<grader>.jsonl   their grades, append-only
    votes/<run>-<grader>.jsonl    which answers of an item are equivalent (several samples per item)
    results.json report.md report.html
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.generation import (
    LoadOptions,
    ModelSource,
    SamplingParams,
    derive_seed,
    fingerprint_source,
    resolve_source,
)

from .items import Item, load_items
from .options import EvalOptions
from .records import write_atomically
from .suites import Suite, load_suite


PLAN_FILE = "plan.json"
ITEMS_FILE = "items.jsonl"


@dataclass(frozen=True)
class Run:
    """One model under the plan's settings. `fingerprint` names its records."""

    name: str
    label: str
    fingerprint: str
    model_fingerprint: str
    adapter: bool
    base: str | None


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
        )

    def source(self, run: Run) -> ModelSource:
        """The model of a run."""
        return resolve_model_name(run.name, self.options.base_model)

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
    protocol = either(options.protocol, loaded.protocol)
    items, data = load_items(loaded, protocol, options.data, options.limit)
    sources = [resolve_model_name(name, options.base_model) for name in names]
    settings = run_settings(loaded, protocol, sampling, options)
    runs = []
    for source, label in zip(sources, short_labels(names), strict=True):
        model = fingerprint_source(source)
        base = source.base.name if source.base else None
        runs.append(Run(source.name, label, digest([model, settings]), model, source.is_adapter, base))
    baseline = None if compare is None else names.index(compare)
    plan = Plan(loaded, options, protocol, sampling, n_samples, runs, baseline, items, data)
    plan.load_options()  # refuses what cannot be loaded before anything is written
    return plan


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
        "backend": options.backend,
        "device": device,
        "dtype": dtype,
        "load_in_4bit": options.load_in_4bit,
        "chat_template": read_template(options.chat_template),
        "chat_template_kwargs": options.chat_template_kwargs,
    }


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


def digest(value: Any) -> str:
    """12 hex digits that name a configuration."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error


def either(value: Any, default: Any) -> Any:
    return default if value is None else value
