"""The judge's prompts, read from the benchmark's own files.

A folder may hold them as the benchmark's repository does (v2.0: `utils/judge_utils.py` with the system prompts and
`config/arena-hard-v2.0.yaml` with the template; v0.1: `config/judge_config.yaml` with both), or as one
`judge_prompts.json` {judge_settings: {category: {system_prompt}}, prompt_template}. Python files are read, never run.
"""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.judges.templates import fill

from .versions import Version


SETTINGS_FILE = "judge_prompts.json"
UTILS_FILE = "utils/judge_utils.py"
TEMPLATE_FILE = "config/arena-hard-v2.0.yaml"
OLD_CONFIG_FILE = "config/judge_config.yaml"
# Every set of files that is enough, in the order they are looked for.
LAYOUTS = ((SETTINGS_FILE,), (UTILS_FILE, TEMPLATE_FILE), (OLD_CONFIG_FILE,))
# v0.1's template has its own names for the fields.
OLD_FIELDS = {"{question_1}": "{QUESTION}", "{answer_1}": "{ANSWER_A}", "{answer_2}": "{ANSWER_B}"}
FIELDS = ("{QUESTION}", "{ANSWER_A}", "{ANSWER_B}")


@dataclass(frozen=True)
class JudgePrompts:
    """System prompt per category and the template of the user message; `place` says where they were read."""

    system: dict[str, str]
    template: str
    place: str

    def messages(self, category: str, question: str, answer_a: str, answer_b: str) -> list[dict[str, Any]]:
        """The messages of one game."""
        user = fill(self.template, QUESTION=question, ANSWER_A=answer_a, ANSWER_B=answer_b)
        return [{"role": "system", "content": self.system[category]}, {"role": "user", "content": user}]


def layout_in(folder: Path) -> tuple[str, ...] | None:
    """The files of the first layout that `folder` holds completely."""
    return next((names for names in LAYOUTS if all((folder / name).is_file() for name in names)), None)


def read_prompts(folder: Path, version: Version) -> JudgePrompts:
    """The prompts of a version. Raises `InputError` naming the file that lacks one."""
    names = layout_in(folder)
    if names is None:
        wanted = " or ".join(" with ".join(layout) for layout in LAYOUTS)
        raise InputError(f"{folder} holds no judge prompts: it needs {wanted}")
    place = str(folder / names[0])
    if names == (SETTINGS_FILE,):
        settings = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))
        system, template = settings.get("judge_settings"), settings.get("prompt_template")
    elif names == (OLD_CONFIG_FILE,):
        settings = read_yaml(folder / OLD_CONFIG_FILE)
        prompt = settings.get("system_prompt")
        system = {category: {"system_prompt": prompt} for category in version.baselines}
        template = settings.get("prompt_template")
    else:
        system = judge_settings(folder / UTILS_FILE)
        template = read_yaml(folder / TEMPLATE_FILE).get("prompt_template")
    return check_prompts(system, template, version, place)


def check_prompts(system: Any, template: Any, version: Version, place: str) -> JudgePrompts:
    """The prompts of the version's categories, with the fields' names made equal."""
    if isinstance(template, list):
        template = "\n".join(template)
    for old, new in OLD_FIELDS.items():
        template = template.replace(old, new) if isinstance(template, str) else template
    if not isinstance(template, str) or not all(name in template for name in FIELDS):
        raise InputError(f"{place}: prompt_template is {template!r:.60}; it must hold {', '.join(FIELDS)}")
    prompts = {}
    for category in version.baselines:
        settings = system.get(category) if isinstance(system, dict) else None
        prompt = settings.get("system_prompt") if isinstance(settings, dict) else None
        if not isinstance(prompt, str) or not prompt:
            raise InputError(f"{place}: there is no system prompt for category {category} of {version.title}")
        prompts[category] = prompt
    return JudgePrompts(prompts, template, place)


def judge_settings(path: Path) -> Any:
    """The value of `JUDGE_SETTINGS` in a Python file of constants: strings, dictionaries, and names of earlier ones."""
    names: dict[str, Any] = {}
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
                names[target.id] = constant(statement.value, names)
        return names["JUDGE_SETTINGS"]
    except (SyntaxError, KeyError) as error:
        raise InputError(f"{path}: JUDGE_SETTINGS cannot be read from it ({error})") from error


def constant(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of a constant expression; None for any other."""
    if isinstance(node, ast.Dict):
        return {
            constant(key, names): constant(value, names)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.Name):
        return names.get(node.id)
    return node.value if isinstance(node, ast.Constant) else None


def read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from error
    return values if isinstance(values, dict) else {}
