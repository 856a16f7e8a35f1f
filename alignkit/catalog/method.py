"""What the catalog says of a method."""

import importlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Method:
    """One method: what it is called, where it comes from, which class trains it.

    Attributes:
        key: its name everywhere (command line, recipes, docs). Acronyms clash in this field; keys do not.
        title: the name spelled out.
        family: `"preference"`, `"reward"`, `"online"`, `"ppo"`, `"iterative"` or `"diffusion"`.
        paper_title, arxiv, citation: the paper, its arXiv id and BibTeX.
        trainer: `"module:Class"` of the trainer.
        config: `"module:Class"` of its configuration dataclass, the only home of the defaults.
        summary: what the method does, in one or two sentences.
        columns: the data set columns it needs.
        metric: the number to watch, and what it should do.
        metrics: what else it logs under its own name, {name: what it is and what it should do}.
        status: what has been shown of it.
    """

    key: str
    title: str
    family: str
    paper_title: str
    arxiv: str
    citation: str
    trainer: str
    config: str
    summary: str
    columns: tuple[str, ...]
    metric: str
    status: str
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def paper(self) -> dict[str, str]:
        """The paper as TRL's model card takes it: {title, id, citation}."""
        return {"title": self.paper_title, "id": self.arxiv, "citation": self.citation}

    def load_trainer(self):
        """Import and return the trainer class (heavy)."""
        return load_object(self.trainer)

    def load_config(self):
        """Import and return the configuration class (heavy)."""
        return load_object(self.config)


def load_object(path: str) -> Any:
    """Import and return what `"module:name"` names."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)
