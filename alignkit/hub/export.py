"""`export_adapter`: from a checkpoint to a folder that can be published."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__, catalog
from ..errors import InputError
from .base_loading import Quantisation
from .base_model import BaseModel, find_base_model
from .card import CardContent, build_card
from .checkpoint import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_CONFIG, Checkpoint, find_checkpoint, read_json
from .evaluation import Evaluation, read_evaluation
from .folder import check_target, whole_folder
from .merge import DTYPES, MergeReport, merge_adapter
from .run_facts import EXPORT_FILE, RunFacts, looks_like_path, read_run_facts
from .tokenizer_files import copy_tokenizer, write_json


_FRAMEWORKS = ("alignkit", "trl", "transformers", "peft", "torch", "datasets", "bitsandbytes")


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Attributes:
        path: the new folder.
        kind: `"adapter"`, `"model"` (a full model, as trained), `"merged"` or `"diffusion_lora"`.
        source: the folder the weights came from.
        base_model, base_revision: what the export says it was trained from.
        files: names of the files in `path`.
        notes: choices that were made for the user, one sentence each.
        warnings: what a reader of the export will miss, one sentence each.
        merge: logit comparisons, for a merge.
    """

    path: Path
    kind: str
    source: Path
    base_model: str | None
    base_revision: str | None
    files: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    merge: MergeReport | None = None

    @property
    def merged_logit_difference(self) -> float | None:
        """Largest absolute logit difference of the merged model to base + adapter in float32; `None` without merge."""
        return self.merge.merged.largest if self.merge is not None else None


def export_adapter(
    checkpoint: str | Path,
    out: str | Path,
    *,
    merge: bool = False,
    base_model: str | None = None,
    base_revision: str | None = None,
    eval_results: str | Path | None = None,
    method: str | None = None,
    license_name: str | None = None,
    dtype: str = "auto",
    load_in_4bit: bool | None = None,
    repo_id: str | None = None,
    force: bool = False,
    trust_remote_code: bool = False,
    resolve_base: Callable[[str], str] | None = None,
) -> ExportResult:
    """Write a Hub-ready folder of an adapter (or of a full model), with model card and machine-readable facts.

    The folder is built under a temporary name and renamed when it is complete. Optimizer state, pickles and extra
    adapters (a reference) are left out.

    Args:
        checkpoint: an adapter or full-model folder, or a run's output folder that holds only checkpoints.
        out: the folder to make.
        merge: merge the adapter into its base model (see `merge_adapter`) and write the full model.
        base_model, base_revision: override what the run recorded.
        eval_results: a `results.json` for the card's evaluation table.
        method: catalog key, where the run did not record one.
        license_name: the Hub's name of the licence; left out of the card if not known.
        dtype: of merged weights; `"auto"` is the base's own.
        load_in_4bit: whether training quantised the base to 4 bits; `None` reads it from the run's facts.
        repo_id: repository the card's examples name; the folder's name if not given.
        force: replace `out` if it is there.
        resolve_base: turns the name of a bundled model into its folder.

    Raises:
        InputError: anything that keeps the export from being right; nothing is left behind then.
    """
    if method is not None:
        catalog.get(method)
    if dtype not in DTYPES:
        raise InputError(f"--dtype is {dtype!r}; choose one of {', '.join(DTYPES)}.")
    found = find_checkpoint(checkpoint)
    target = check_target(out, found.path, force)
    facts = read_run_facts(found, method, license_name)
    evaluation = read_evaluation(eval_results) if eval_results is not None else None
    if found.kind == "model" and merge:
        raise InputError(f"{found.path} is a full model: there is no adapter to merge; leave --merge out.")

    adapter_config = read_json(found.path / ADAPTER_CONFIG) if found.kind == "adapter" else {}
    base = find_base_model(
        given_name=base_model,
        given_revision=base_revision,
        run_name=facts.model_name_or_path,
        run_revision=facts.model_revision,
        adapter_name=adapter_config.get("base_model_name_or_path"),
        adapter_revision=adapter_config.get("revision"),
        resolve=resolve_base,
    )
    kind = "merged" if merge else found.kind
    warnings = [base.warning] if base.warning is not None and not (merge and base.name is not None) else []
    notes = [found.note] if found.note is not None else []
    report: MergeReport | None = None

    with whole_folder(target) as building:
        places = [found.path, found.run_folder]
        if base.load_from is not None and Path(base.load_from).is_dir():
            places.append(Path(base.load_from))
        tokenizer_source, tokenizer_warnings = copy_tokenizer(places, building)
        warnings += tokenizer_warnings
        if merge:
            if base.load_from is None:
                raise InputError(
                    f"nothing says which base model {found.path} belongs to; set it with --base_model NAME."
                )
            report = merge_adapter(
                found.path,
                base.load_from,
                building,
                tokenizer_folder=building if tokenizer_source is not None else None,
                # A folder has no revisions.
                revision=None if Path(base.load_from).is_dir() else base.revision,
                dtype=dtype,
                quantisation=_quantisation(facts, load_in_4bit),
                trust_remote_code=trust_remote_code,
            )
        elif kind == "adapter":
            shutil.copyfile(found.path / ADAPTER_WEIGHTS, building / ADAPTER_WEIGHTS)
            write_json(building / ADAPTER_CONFIG, _published_adapter_config(adapter_config, base))
        else:
            _copy_model(found, building)
        card = _card_content(found, target, kind, building, adapter_config, base, facts, evaluation, report, repo_id)
        (building / "README.md").write_text(build_card(card), encoding="utf-8")
        write_json(building / EXPORT_FILE, _machine_readable(card))
        files = tuple(sorted(str(path.relative_to(building)) for path in building.rglob("*") if path.is_file()))

    return ExportResult(
        target, kind, found.path, base.name, base.revision, files, tuple(notes), tuple(warnings), report
    )


def _published_adapter_config(config: dict[str, Any], base: BaseModel) -> dict[str, Any]:
    """Return the adapter's configuration with the right base, ready for inference and the same on every export."""
    published = dict(config, base_model_name_or_path=base.loadable_name, revision=base.revision, inference_mode=True)
    for name, value in published.items():
        # PEFT keeps sets here and writes them in a random order.
        if name in ("target_modules", "modules_to_save", "exclude_modules") and isinstance(value, list):
            published[name] = sorted(value)
        elif name != "base_model_name_or_path" and isinstance(value, str) and looks_like_path(value):
            # A file the adapter was initialised from: of no use for loading it, and only on this machine.
            published[name] = True if name == "init_lora_weights" else None
    return published


def _copy_model(found: Checkpoint, target: Path) -> None:
    for name in found.weights:
        shutil.copyfile(found.path / name, target / name)
    config = read_json(found.path / MODEL_CONFIG)
    config.pop("_name_or_path", None)
    write_json(target / MODEL_CONFIG, config)
    extra = [found.path / "generation_config.json", *found.path.glob("*.py")]
    for path in extra:
        if path.is_file():
            shutil.copyfile(path, target / path.name)


def _quantisation(facts: RunFacts, load_in_4bit: bool | None) -> Quantisation | None:
    four_bit = facts.config.get("load_in_4bit") is True if load_in_4bit is None else load_in_4bit
    if four_bit:
        quant_type = facts.config.get("bnb_4bit_quant_type")
        double = facts.config.get("use_bnb_nested_quant") is True
        return Quantisation(4, quant_type if isinstance(quant_type, str) else "nf4", double)
    if load_in_4bit is None and facts.config.get("load_in_8bit") is True:
        return Quantisation(8)
    return None


def _card_content(
    found: Checkpoint,
    target: Path,
    kind: str,
    building: Path,
    adapter_config: dict[str, Any],
    base: BaseModel,
    facts: RunFacts,
    evaluation: Evaluation | None,
    report: MergeReport | None,
    repo_id: str | None,
) -> CardContent:
    versions = dict(facts.versions)
    versions_of = "of the run"
    if not versions:
        versions, versions_of = _installed_versions(), "at export (the run's are not recorded)"
        if "peft_version" in adapter_config:
            versions["peft"] = str(adapter_config["peft_version"])
    elif facts.alignkit_version:
        versions = {"alignkit": facts.alignkit_version, **versions}
    peft_type = adapter_config.get("peft_type")
    return CardContent(
        title=repo_id.split("/")[-1] if repo_id else target.name,
        model_id=repo_id or target.name,
        kind=kind,
        pipeline_tag=_pipeline_tag(adapter_config, found.path, building),
        peft_type=peft_type if isinstance(peft_type, str) else None,
        base=base,
        facts=facts,
        versions=versions,
        versions_of=versions_of,
        evaluation=evaluation,
        merge=report,
    )


def _pipeline_tag(adapter_config: dict[str, Any], source: Path, building: Path) -> str:
    config = next(
        (read_json(place / MODEL_CONFIG) for place in (building, source) if (place / MODEL_CONFIG).exists()), {}
    )
    architecture = (config.get("architectures") or [""])[0]
    mapping = adapter_config.get("auto_mapping") or {}
    architecture = architecture or mapping.get("base_model_class", "")
    if adapter_config.get("task_type") == "SEQ_CLS" or architecture.endswith("ForSequenceClassification"):
        return "text-classification"
    if (building / "preprocessor_config.json").exists() or (building / "processor_config.json").exists():
        return "image-text-to-text"
    return "text-generation"


def _installed_versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in _FRAMEWORKS:
        try:
            versions[name] = __version__ if name == "alignkit" else version(name)
        except PackageNotFoundError:
            continue
    return versions


def _machine_readable(card: CardContent) -> dict[str, Any]:
    run = card.facts.as_json()
    # The base as published, so that an export of this export finds it; not a place on the machine it ran on.
    run.pop("model_name_or_path", None)
    run.pop("model_revision", None)
    if card.base.name is not None and not card.base.is_local:
        run["model_name_or_path"] = card.base.name
        if card.base.revision is not None:
            run["model_revision"] = card.base.revision
    content = {
        "alignkit_version": __version__,
        "kind": card.kind,
        "base_model": card.base.shown_name,
        "base_model_revision": card.base.revision,
        "pipeline_tag": card.pipeline_tag,
        "peft_type": card.peft_type,
        "arxiv": [method.arxiv for method in card.facts.cited_methods() if method.arxiv],
        "run": run,
        "versions": card.versions,
        "versions_of": card.versions_of,
        "evaluation": card.evaluation.as_json() if card.evaluation is not None else None,
        "merge": card.merge.as_json() if card.merge is not None else None,
    }
    # Tuples of the facts become lists, so that what is returned equals what is read back.
    return json.loads(json.dumps(content))
