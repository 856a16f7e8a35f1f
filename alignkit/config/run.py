"""From a YAML file and flags to the objects of one training run, every bad key or value refused by name."""

import ast
import json
import types
import typing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..catalog import Method, get
from ..errors import InputError
from .evaluation import EvaluationConfig
from .fields import FieldInfo, can_measure_suites, config_fields, nearest


@dataclass
class Run:
    """One training run, as configured.

    Attributes:
        method: the catalog entry.
        script: TRL's `ScriptArguments` (data set name, splits, streaming).
        training: the method's config, a `TrainingArguments`.
        model: TRL's `ModelConfig` (model name, dtype, LoRA, quantisation).
        mixture: TRL's `DatasetMixtureConfig`.
        evaluation: the suites measured while training.
        config_path: the YAML file, if one was given.
        given: the keys that were set, by file or flag, with their values.
    """

    method: Method
    script: Any
    training: Any
    model: Any
    mixture: Any
    evaluation: EvaluationConfig
    config_path: str | None
    given: dict[str, Any]


def read_config(path: str) -> dict[str, Any]:
    """Read a YAML mapping; `InputError` names the file and line of what is wrong with it."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; `alignkit config copy KEY` makes one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from None
    try:
        config = yaml.load(text, Loader=_unique_keys_loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise InputError(f"{where}: not valid YAML ({getattr(error, 'problem', error)}).") from None
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds a {type(config).__name__}; expected a mapping of field: value.")
    return config


def load_run(method: str | Method, config_path: str | None = None, overrides: list[str] | None = None) -> Run:
    """Build the run of a method from a YAML file and flags (flags win).

    Args:
        method: a key of the catalog, or the entry itself.
        config_path: YAML file of field: value; `env:` sets environment variables, as in TRL.
        overrides: flags as typed, e.g. `["--beta", "0.2", "--loss_type", "sigmoid", "sft"]`.

    Raises:
        InputError: for an unknown field (with the nearest valid names), a value of the wrong type, or whatever the
            config class refuses.
    """
    import os

    method = get(method) if isinstance(method, str) else method
    known = config_fields(method)
    config = read_config(config_path) if config_path else {}
    environment = config.pop("env", None) or {}
    if not isinstance(environment, dict):
        raise InputError(f"{config_path}: `env` is {environment!r}; expected a mapping of variable: value.")
    os.environ.update({str(key): str(value) for key, value in environment.items()})
    for name in config:
        if name not in known:
            raise InputError(f"{config_path}: there is no field `{name}` in {method.key}; {nearest(str(name), known)}")
    flags = parse_flags(overrides or [], known, method.key)
    classes = _config_classes(method)
    owners = {field.name: cls for cls in reversed(classes) for field in fields(cls) if field.init}
    values: dict[type, dict[str, Any]] = {cls: {} for cls in classes}
    for source, given in ((config_path, config), ("command line", flags)):
        for name, value in given.items():
            kind = typing.get_type_hints(owners[name])[name]
            values[owners[name]][name] = _convert(value, kind, f"{source}: `{name}`")
    values[classes[1]].setdefault("output_dir", f"outputs/{method.key}")
    built = []
    for cls in classes:
        try:
            built.append(cls(**values[cls]))
        except (ValueError, TypeError, NotImplementedError, ImportError) as error:
            raise InputError(f"{config_path or 'command line'}: {_one_line(error)}") from error
    script, training, model, mixture, *measured = built
    evaluation = measured[0] if measured else EvaluationConfig()
    given = {name: value for group in values.values() for name, value in group.items()}
    return Run(method, script, training, model, mixture, evaluation, config_path, given)


def parse_flags(arguments: list[str], known: dict[str, FieldInfo], method_key: str) -> dict[str, Any]:
    """Turn `--name value ...`, `--name=value` and bare `--name` into {name: text, list of texts, or True}."""
    flags: dict[str, Any] = {}
    for name, texts in split_flags(arguments):
        if name not in known and name.startswith("no_") and name[3:] in known and not texts:
            flags[name[3:]] = False
        elif name not in known:
            raise InputError(f"there is no flag `--{name}` for {method_key}; {nearest(name, known)}")
        else:
            flags[name] = True if not texts else texts[0] if len(texts) == 1 else texts
    return flags


def split_flags(arguments: list[str]) -> list[tuple[str, list[str]]]:
    """Group typed flags: `["--a", "1", "2", "--b=3"]` -> `[("a", ["1", "2"]), ("b", ["3"])]`."""
    groups: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, separator, value = argument[2:].partition("=")
            groups.append((name.replace("-", "_"), [value] if separator else []))
        elif groups:
            groups[-1][1].append(argument)
        else:
            raise InputError(f"unexpected argument {argument!r}; flags look like --field value.")
    return groups


def _config_classes(method: Method) -> list[type]:
    from trl import DatasetMixtureConfig, ModelConfig, ScriptArguments

    evaluation = [EvaluationConfig] if can_measure_suites(method) else []
    return [ScriptArguments, method.load_config(), ModelConfig, DatasetMixtureConfig, *evaluation]


def _convert(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind` (a resolved annotation); texts from flags and YAML's text for numbers like 1e-4 are parsed."""
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    # "none" means nothing, except where a text is expected: `report_to: none` is a text that transformers reads.
    takes_text = str in options
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null") and not takes_text):
        if type(None) in options:
            return None
        raise InputError(f"{where} is empty; expected {_describe(options)}.")
    if takes_text and isinstance(value, str) and not value.startswith(("[", "{")):
        options = tuple(item for item in options if typing.get_origin(item) is not list)
    for option in sorted((item for item in options if item is not type(None)), key=_specificity):
        try:
            return _convert_one(value, option)
        except (ValueError, TypeError, SyntaxError):
            continue
    raise InputError(f"{where} is {value!r}; expected {_describe(options)}.")


def _specificity(kind: Any) -> int:
    """Text last: every flag is a text, and would never be tried as a number."""
    origin = typing.get_origin(kind) or kind
    order = (bool, int, float, dict, list)
    return order.index(origin) if origin in order else len(order) + (origin is str)


def _convert_one(value: Any, kind: Any) -> Any:
    origin = typing.get_origin(kind) or kind
    if origin is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "yes", "1", "false", "no", "0"):
            return value.lower() in ("true", "yes", "1")
        raise ValueError
    if origin is int:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    if origin is float:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    if origin in (list, tuple):
        items = value if isinstance(value, (list, tuple)) else _as_list(value)
        (item_kind, *_) = typing.get_args(kind) or (Any,)
        return [_convert_one(item, item_kind) for item in items]
    if origin is dict:
        value = json.loads(value) if isinstance(value, str) else value
        if not isinstance(value, dict):
            raise ValueError
        return value
    if origin is str:
        if isinstance(value, (list, dict, bool)):
            raise ValueError
        return str(value)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise ValueError
        return value
    return value  # enums and Any: the config class converts and refuses


def _as_list(value: Any) -> list:
    if isinstance(value, str) and value.startswith("["):
        return list(ast.literal_eval(value))
    # The commas of a mapping do not separate entries.
    if isinstance(value, str) and "," in value and not value.lstrip().startswith("{"):
        return [part.strip() for part in value.split(",")]
    return [value]


def _describe(options: tuple) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    names.update({dict: "a mapping", type(None): "nothing"})
    texts = [names.get(typing.get_origin(item) or item, str(item)) for item in options]
    return " or ".join(dict.fromkeys(texts))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _unique_keys_loader():
    """A safe YAML loader that refuses a key written twice: the first value would be lost silently."""
    import yaml

    class UniqueKeys(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            seen = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=deep)
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key `{key}` appears twice", key_node.start_mark
                    )
                seen.add(key)
            return super().construct_mapping(node, deep=deep)

    return UniqueKeys
