"""The suites: one YAML file each in `alignkit/eval/suites/`, read into a `Suite`."""

import difflib
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from typing import Any

from alignkit.errors import InputError


LM_EVAL = "lm_eval:"
# Names the suites of an output folder that holds several, each in a folder of its own.
SUITES_FILE = "suites.json"


@dataclass(frozen=True)
class Suite:
    """A benchmark as data: where its rows are, how they become questions and golds, how they are put and graded.

    `kind`: "math" (graded), "judged" (by the class that `benchmark` names, `package.module:Class`), "lm_eval" (tasks of
    lm-eval) or "image_reward" (pipelines, scored by `--scorer`). `rows`: where the data is (`bundled`, or `hub` with
    `config` and `split`, and `file`: the name looked for in the folder of `ALIGNKIT_EVAL_DATA` and its sub-folder
    `folder`, default the kind). `question`/`gold`: the
    columns that may hold them, first found wins. `gold_rule`: a key of `alignkit.eval.golds.GOLD_RULES`. `group_by`:
    columns that get a table of their own. `turns`: answers of a dialogue, each turn an item of its own; `size` counts
    dialogues. `temperatures`: the sampling temperature by the items' category, where it is not `temperature`.
    """

    name: str
    title: str
    kind: str
    rows: dict[str, str]
    protocol: str
    max_new_tokens: int
    size: int
    question: list[str] = field(default_factory=list)
    gold: list[str] = field(default_factory=list)
    gold_rule: str = ""
    benchmark: str = ""
    temperature: float = 0.0
    temperatures: dict[str, float] = field(default_factory=dict)
    turns: int = 1
    top_p: float = 1.0
    top_k: int = 0
    n_samples: int = 1
    tolerance: float | None = None
    context: str | None = None
    group_by: tuple[str, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def suite_names() -> list[str]:
    """Names of the suites that come with the package."""
    folder = files("alignkit.eval") / "suites"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_suite(name: str) -> Suite:
    """Read one suite; `lm_eval:A,B` are tasks of lm-eval. Raises `InputError` with the nearest names for one that does
    not exist."""
    import yaml

    if name.startswith(LM_EVAL):
        # lm-eval has its own prompts, lengths and items.
        return Suite(
            name, f"lm-eval: {name.removeprefix(LM_EVAL)}", "lm_eval", {}, "lm-eval", max_new_tokens=1, size=0
        )

    names = suite_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        raise InputError(f"there is no suite {name!r}: {hint}")
    text = (files("alignkit.eval") / "suites" / f"{name}.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    unknown = set(values) - {own.name for own in fields(Suite)}
    if unknown:
        raise InputError(f"suite {name}: unknown keys {', '.join(sorted(unknown))}")
    values["group_by"] = tuple(values.get("group_by", ()))
    return Suite(name=name, **values)
