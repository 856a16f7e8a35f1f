"""Configurations: recipes (YAML), the fields of every config class, and the run that they make together.

`fields` reads the config dataclasses from their source, so that `--help` and the catalog cost no heavy import;
`run` builds the real objects; `recipes` finds the shipped YAML files.
"""

from .fields import NOT_GIVEN, FieldInfo, config_fields, nearest
from .planning import plan_for
from .recipes import recipe_path, recipes
from .run import Run, load_run, read_config


__all__ = [
    "NOT_GIVEN",
    "FieldInfo",
    "Run",
    "config_fields",
    "load_run",
    "nearest",
    "plan_for",
    "read_config",
    "recipe_path",
    "recipes",
]
