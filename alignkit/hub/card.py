"""The model card: metadata the Hub reads, and what a reader needs to judge, load and cite the model."""

import json
from dataclasses import dataclass
from typing import Any

from ..catalog import Method
from .base_model import BaseModel
from .evaluation import Evaluation, cell
from .merge import MergeReport
from .run_facts import RunFacts, is_hub_name


_CLASSES = {
    "text-generation": "CausalLM",
    "text-classification": "SequenceClassification",
    "image-text-to-text": "ImageTextToText",
}

_TRL_CITATION = """@software{vonwerra2020trl,
  title   = {{TRL: Transformers Reinforcement Learning}},
  author  = {von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and Beeching, Edward and Thrush, Tristan and \
Lambert, Nathan and Huang, Shengyi and Rasul, Kashif and Gallouédec, Quentin},
  url     = {https://github.com/huggingface/trl},
  year    = {2020},
}"""


@dataclass(frozen=True)
class CardContent:
    """What a card is written from.

    Attributes:
        title: name of the repository or folder, as the heading.
        model_id: what the loading examples open.
        kind: `"adapter"`, `"model"` or `"merged"`.
        pipeline_tag: the Hub's task name.
        peft_type: `"LORA"` and the like, for an adapter or a merged one.
        versions: frameworks of the run, or of the export where the run's are not known (`versions_of` says which).
    """

    title: str
    model_id: str
    kind: str
    pipeline_tag: str
    peft_type: str | None
    base: BaseModel
    facts: RunFacts
    versions: dict[str, str]
    versions_of: str
    evaluation: Evaluation | None
    merge: MergeReport | None


def build_card(content: CardContent) -> str:
    """Return the text of `README.md`, metadata first."""
    methods = content.facts.cited_methods()
    sections = [
        f"---\n{_metadata(content, methods)}\n---",
        f"# {content.title}",
        _introduction(content, methods),
        _loading(content),
    ]
    if content.facts.dataset:
        sections.append("## Training data\n\n" + "\n".join(f"- {link(name)}" for name in content.facts.dataset))
    sections.append(configuration_section(content.facts))
    if content.evaluation is not None:
        suite = f" on `{content.evaluation.suite}`" if content.evaluation.suite else ""
        sections.append(f"## Evaluation{suite}\n\n{content.evaluation.tables()}")
    if content.merge is not None:
        sections.append("## Merge\n\n" + "\n".join(f"- {line}" for line in content.merge.sentences()))
    if content.versions:
        lines = "\n".join(f"- {name} {version}" for name, version in content.versions.items())
        sections.append(f"## Framework versions\n\nVersions {content.versions_of}:\n\n{lines}")
    citations = [method.citation for method in methods if method.citation] + [_TRL_CITATION]
    sections.append("## Citation\n\n" + "\n\n".join(f"```bibtex\n{text.strip()}\n```" for text in citations))
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(content: CardContent, methods: list[Method]) -> str:
    from huggingface_hub import ModelCardData

    tags = ["alignkit", "trl"]
    if content.facts.method:
        tags.append(content.facts.method)
    if content.peft_type:
        tags.append(content.peft_type.lower())
    tags += [f"arxiv:{method.arxiv}" for method in methods if method.arxiv]
    data = ModelCardData(
        base_model=content.base.hub_name,
        library_name="peft" if content.kind == "adapter" else "transformers",
        pipeline_tag=content.pipeline_tag,
        datasets=[name for name in content.facts.dataset if is_hub_name(name)] or None,
        license=content.facts.license,
        tags=tags,
    )
    return data.to_yaml()


def _introduction(content: CardContent, methods: list[Method]) -> str:
    adapter = "LoRA" if content.peft_type == "LORA" else content.peft_type or "PEFT"
    what = {
        "adapter": f"{adapter} adapter for",
        "model": "A fine-tuned version of",
        "merged": f"{adapter} adapter merged into",
    }[content.kind]
    base = content.base.shown_name
    name = "an unnamed base model" if base is None else f"`{base}`" if content.base.is_local else link(base)
    if content.base.revision:
        name += f" (revision `{content.base.revision}`)"
    lines = [f"{what} {name}, trained with [TRL](https://github.com/huggingface/trl) and alignkit."]
    if content.base.is_bundled:
        lines.append("The base model ships with alignkit and is not on the Hub.")
    lines.append("\n## Method\n")
    for method in methods:
        paper = f"[{method.paper_title}](https://arxiv.org/abs/{method.arxiv})" if method.arxiv else method.paper_title
        lines.append(f"**{method.title}** (`{method.key}`), from the paper {paper}. {method.summary}")
    if not methods:
        known = content.facts.method
        lines.append(
            f"`{known}`, a composition of alignkit's parts (see the configuration)." if known else "Not recorded."
        )
    return "\n".join(lines)


def _loading(content: CardContent) -> str:
    model_class = _CLASSES[content.pipeline_tag]
    processor = "AutoProcessor" if content.pipeline_tag == "image-text-to-text" else "AutoTokenizer"
    variable = "processor" if processor == "AutoProcessor" else "tokenizer"
    tail = f"{variable} = {processor}.from_pretrained(model_id)"
    head = f'model_id = "{content.model_id}"'
    through_transformers = (
        f"from transformers import AutoModelFor{model_class}, {processor}\n\n"
        f'{head}\nmodel = AutoModelFor{model_class}.from_pretrained(model_id, dtype="auto")\n{tail}'
    )
    if content.kind != "adapter":
        return f"## How to load\n\n```python\n{through_transformers}\n```"
    if content.base.is_bundled:
        bundled = (
            f"from alignkit.data.bundled import resolve_model\nfrom peft import PeftModel\n"
            f"from transformers import AutoModelFor{model_class}, {processor}\n\n{head}\n"
            f'base = AutoModelFor{model_class}.from_pretrained(resolve_model("{content.base.name}"), dtype="auto")\n'
            f"model = PeftModel.from_pretrained(base, model_id)\n{tail}"
        )
        adapter_only = (
            f"from alignkit.data.bundled import resolve_model\nfrom transformers import AutoModelFor{model_class}\n\n"
            f"{head}\n"
            f'model = AutoModelFor{model_class}.from_pretrained(resolve_model("{content.base.name}"), dtype="auto")\n'
            "model.load_adapter(model_id)"
        )
        return (
            f"## How to load\n\nWith PEFT:\n\n```python\n{bundled}\n```\n\n"
            f"With transformers (PEFT must be installed):\n\n```python\n{adapter_only}\n```"
        )
    peft_class = "AutoPeftModel" if model_class == "ImageTextToText" else f"AutoPeftModelFor{model_class}"
    through_peft = (
        f"from peft import {peft_class}\nfrom transformers import {processor}\n\n"
        f'{head}\nmodel = {peft_class}.from_pretrained(model_id, dtype="auto")\n{tail}'
    )
    return (
        f"## How to load\n\nWith PEFT:\n\n```python\n{through_peft}\n```\n\n"
        f"With transformers, which fetches the base model itself (PEFT must be installed):\n\n"
        f"```python\n{through_transformers}\n```"
    )


def configuration_section(facts: RunFacts) -> str:
    """What the run was configured with, as a section; empty where nothing is known."""
    rows: dict[str, Any] = dict(sorted(facts.config.items()))
    if facts.seed is not None:
        rows["seed"] = facts.seed
    progress = [f"{facts.steps} steps" if facts.steps is not None else "", _epochs(facts.epochs)]
    trained = ", ".join(text for text in progress if text)
    if not rows and not trained:
        return ""
    parts = ["## Configuration"]
    if trained:
        parts.append(f"Trained for {trained}.")
    if rows:
        lines = [f"| {cell(name)} | `{cell(json.dumps(value, ensure_ascii=False))}` |" for name, value in rows.items()]
        parts.append("Values that differ from the defaults:\n\n| Field | Value |\n| --- | --- |\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _epochs(epochs: float | None) -> str:
    return "" if epochs is None else f"{epochs:.3g} epochs"


def link(name: str) -> str:
    """A name as a link, where the Hub may have it."""
    return f"[{name}](https://huggingface.co/{name})" if is_hub_name(name) and "/" in name else f"`{name}`"
