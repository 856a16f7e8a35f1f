"""The fields of the config dataclasses, read from their source: importing them would cost seconds of torch and TRL."""

import ast
import difflib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..catalog import METHODS, Method


class _NotGiven:
    def __repr__(self) -> str:
        return "required"


NOT_GIVEN = _NotGiven()

# Names that a package re-exports lazily, so that its `__init__` does not tell where they live.
_REEXPORTS = {
    "transformers:TrainingArguments": "transformers.training_args:TrainingArguments",
    "trl:DPOConfig": "trl.trainer.dpo_config:DPOConfig",
    "trl:GRPOConfig": "trl.trainer.grpo_config:GRPOConfig",
    "trl:RewardConfig": "trl.trainer.reward_config:RewardConfig",
}

# What every training command takes beside the method's own config: TRL's script, model and mixture arguments.
SHARED_CONFIGS = (
    "trl.scripts.utils:ScriptArguments",
    "trl.trainer.model_config:ModelConfig",
    "trl.scripts.utils:DatasetMixtureConfig",
)
# What a command that trains one policy takes too.
EVALUATION_CONFIG = "alignkit.config.evaluation:EvaluationConfig"


@dataclass(frozen=True)
class FieldInfo:
    """One field of a config class: `default` is `NOT_GIVEN` when there is none, `owner` the class that sets it last."""

    name: str
    annotation: str
    default: Any
    help: str
    owner: str


def config_fields(method: Method) -> dict[str, FieldInfo]:
    """Every field that a run of `method` takes as YAML key and flag, the method's own first."""
    fields: dict[str, FieldInfo] = {}
    evaluation = (EVALUATION_CONFIG,) if can_measure_suites(method) else ()
    for path in (method.config, *SHARED_CONFIGS, *evaluation):
        for name, field in class_fields(path).items():
            fields.setdefault(name, field)
    return dict(sorted(fields.items(), key=lambda item: item[1].owner != method.config.split(":")[1]))


def can_measure_suites(method: Method) -> bool:
    """Whether a run of `method` can answer questions while it trains: it has one trainer (a loop and a front have their
    own evaluation, and are the catalog's entry with another configuration), and its model writes."""
    has_trainer = method == METHODS.get(method.key) and method.trainer.endswith("Trainer")
    return has_trainer and method.family not in ("reward", "diffusion")


@cache
def class_fields(path: str) -> dict[str, FieldInfo]:
    """Dataclass fields of `"module:Class"`, base classes included, in the order of `dataclasses.fields`."""
    fields: dict[str, FieldInfo] = {}
    for source in reversed(class_sources(path)):
        module, name = source.split(":")
        for field in _own_fields(_class_node(module, name)):
            fields[field.name] = field
    return fields


@cache
def class_sources(path: str) -> tuple[str, ...]:
    """`"module:Class"` of a class and of its bases, most derived first, each where it is really defined."""
    path = _REEXPORTS.get(path, path)
    module, name = path.split(":")
    node = _class_node(module, name)
    if node is None:  # re-exported from another module, or from outside the Python sources
        source = _resolve(ast.Name(id=name), _parse(module), module)
        return class_sources(source) if source else ()
    bases = [_resolve(base, _parse(module), module) for base in node.bases]
    return (path, *(source for base in bases if base for source in class_sources(base)))


@cache
def class_docstring(path: str) -> str:
    """The docstring of `"module:Class"`, or of the nearest base that has one; empty where none has."""
    nodes = (_class_node(*source.split(":")) for source in class_sources(path))
    return next((text for node in nodes if node is not None and (text := ast.get_docstring(node))), "")


@cache
def class_attribute(path: str, name: str) -> Any:
    """The value of an attribute in the body of `"module:Class"` or of the nearest base that sets it, None if none does.

    A literal is its value, the name of another class `"module:Class"`.
    """
    for source in class_sources(path):
        module, class_name = source.split(":")
        node = _class_node(module, class_name)
        for item in node.body if node is not None else ():
            targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
            value = getattr(item, "value", None)
            if value is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                named = isinstance(value, ast.Name)
                return _resolve(value, _parse(module), module) if named else _literal(value)
    return None


def _class_node(module: str, name: str) -> ast.ClassDef | None:
    return next((item for item in _parse(module).body if isinstance(item, ast.ClassDef) and item.name == name), None)


def nearest(name: str, names) -> str:
    """A hint: the known names most like `name`, or how to list them all."""
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(f'`{item}`' for item in close)}?" if close else "no field has a similar name."


def _parse(module: str) -> ast.Module:
    return _parse_file(str(_source_of(module)))


@cache
def _parse_file(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _source_of(module: str) -> Path:
    """Path of a module's source; only the top package is looked up, so that no parent package is imported."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{top} is not installed")
    path = Path(spec.origin).parent.joinpath(*rest)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _resolve(base: ast.expr, tree: ast.Module, module: str) -> str | None:
    """`"module:Class"` of a base class, found among the module's own classes and its imports."""
    if not isinstance(base, ast.Name):
        return None
    if any(isinstance(item, ast.ClassDef) and item.name == base.id for item in tree.body):
        return f"{module}:{base.id}"
    for item in tree.body:
        if isinstance(item, ast.ImportFrom):
            for alias in item.names:
                if (alias.asname or alias.name) == base.id:
                    package = module.split(".")[: -item.level] if item.level else []
                    source = ".".join([*package, item.module] if item.module else package)
                    return f"{source}:{alias.name}"
    return None


def _own_fields(node: ast.ClassDef | None) -> Iterator[FieldInfo]:
    if node is None:
        return
    for item in node.body:
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        name, annotation = item.target.id, ast.unparse(item.annotation)
        if name.startswith("_") or "ClassVar" in annotation or "InitVar" in annotation:
            continue
        default, help_text = _default_and_help(item.value)
        yield FieldInfo(name, annotation, default, " ".join(help_text.split()).replace("%%", "%"), node.name)


def _default_and_help(value: ast.expr | None) -> tuple[Any, str]:
    if value is None:
        return NOT_GIVEN, ""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "field"):
        return _literal(value), ""
    default: Any = NOT_GIVEN
    help_text = ""
    for keyword in value.keywords:
        if keyword.arg == "default":
            default = _literal(keyword.value)
        elif keyword.arg == "default_factory":
            factory = keyword.value
            if isinstance(factory, ast.Lambda):
                default = _literal(factory.body)
            elif isinstance(factory, ast.Name) and factory.id in ("list", "dict"):
                default = [] if factory.id == "list" else {}
            else:
                default = ast.unparse(factory)
        elif keyword.arg == "metadata" and isinstance(keyword.value, ast.Dict):
            for key, item in zip(keyword.value.keys, keyword.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help":
                    help_text = str(_literal(item))
    return default, help_text


def _literal(node: ast.expr) -> Any:
    """The value of a literal; any other expression as its source text."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):  # a help text joined from parts
            return f"{_literal(node.left)}{_literal(node.right)}"
        return ast.unparse(node)
