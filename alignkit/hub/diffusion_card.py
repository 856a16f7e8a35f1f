"""The model card of a diffusion model: what a LoRA or a whole pipeline is, how it was made, how to load it."""

from typing import Any

from ..catalog import Method
from .base_model import BaseModel, find_base_model
from .card import configuration_section, link
from .run_facts import RunFacts, as_run_facts, is_hub_name


def diffusion_card(run: dict[str, Any], *, title: str, pipeline_class: str, is_lora: bool, steps: int) -> str:
    """Return the text of `README.md`, metadata first.

    Args:
        run: content of `alignkit_run.json`.
        title: name of the folder or repository.
        pipeline_class: class of the pipeline in diffusers.
        is_lora: whether the weights are a LoRA on the base, or a whole pipeline.
        steps: updates that were made.
    """
    facts = as_run_facts(run, {"global_step": steps})
    base = find_base_model(
        given_name=None, given_revision=None, run_name=facts.model_name_or_path, run_revision=facts.model_revision
    )
    methods = facts.cited_methods()
    sections = [
        f"---\n{_metadata(facts, base, methods, is_lora)}\n---",
        f"# {title}",
        _introduction(base, methods, is_lora),
        f"## How to load\n\n```python\n{_loading(base, title, pipeline_class, is_lora)}\n```",
    ]
    if facts.dataset:
        sections.append("## Training data\n\n" + "\n".join(f"- {link(name)}" for name in facts.dataset))
    sections.append(configuration_section(facts))
    versions = "\n".join(f"- {name} {version}" for name, version in facts.versions.items())
    sections.append(f"## Framework versions\n\n{versions}")
    citations = "\n\n".join(f"```bibtex\n{method.citation.strip()}\n```" for method in methods)
    sections.append(f"## Citation\n\n{citations}")
    return "\n\n".join(section for section in sections if section) + "\n"


def _metadata(facts: RunFacts, base: BaseModel, methods: list[Method], is_lora: bool) -> str:
    from huggingface_hub import ModelCardData

    tags = ["alignkit", "diffusers", *(["lora"] if is_lora else []), *([facts.method] if facts.method else [])]
    return ModelCardData(
        base_model=base.hub_name,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        datasets=[name for name in facts.dataset if is_hub_name(name)] or None,
        license=facts.license,
        tags=tags + [f"arxiv:{method.arxiv}" for method in methods],
    ).to_yaml()


def _introduction(base: BaseModel, methods: list[Method], is_lora: bool) -> str:
    shown = base.shown_name
    name = "an unnamed pipeline" if shown is None else link(shown)
    revision = f" (revision `{base.revision}`)" if base.revision else ""
    lines = [f"{'LoRA for' if is_lora else 'A fine-tuned version of'} {name}{revision}, trained with alignkit."]
    if base.is_bundled:
        lines.append("The base is made by alignkit from nothing and is not on the Hub.")
    lines.append("\n## Method\n")
    for method in methods:
        paper = f"[{method.paper_title}](https://arxiv.org/abs/{method.arxiv})"
        lines.append(f"**{method.title}** (`{method.key}`), from the paper {paper}. {method.summary}")
    return "\n".join(lines)


def _loading(base: BaseModel, title: str, pipeline_class: str, is_lora: bool) -> str:
    imports = f"from diffusers import {pipeline_class}\n\n"
    if not is_lora:
        return f'{imports}pipeline = {pipeline_class}.from_pretrained("{title}")'
    name = f'"{base.shown_name or "the base pipeline"}"'
    if base.is_bundled:
        imports = f"from alignkit.data.diffusion import resolve_pipeline\n{imports}"
        name = f"resolve_pipeline({name})"
    return f'{imports}pipeline = {pipeline_class}.from_pretrained({name})\npipeline.load_lora_weights("{title}")'
