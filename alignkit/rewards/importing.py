"""A reward function of the user: `package.module:function`, `package.module.function` or `path/to/file.py:function`."""

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from alignkit.errors import InputError


DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def import_object(path: str, role: str = "reward") -> Any:
    """The object that `path` names; `InputError` says what is missing, or what importing it raised, for `role`."""
    module_name, separator, attribute = path.rpartition(":")
    if not separator:
        module_name, _, attribute = path.rpartition(".")
    is_file = module_name.endswith(".py")
    module = load_file(module_name, path, role) if is_file else load_module(module_name, path, role)
    try:
        found: Any = module
        for name in attribute.split("."):
            found = getattr(found, name)
        return found
    except AttributeError:
        public = sorted(name for name in vars(module) if not name.startswith("_") and callable(getattr(module, name)))
        raise InputError(
            f"{role} {path!r}: {module_name} has no {attribute!r}; it has {', '.join(public) or 'nothing to call'}"
        ) from None


def load_module(name: str, path: str, role: str) -> ModuleType:
    """Import a module by name, also from the working folder (which a console command leaves off the path)."""
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InputError(
                f"{role} {path!r}: there is no module {error.name!r}, neither installed nor in {folder}"
            ) from None
        raise InputError(f"{role} {path!r}: importing {name} failed: {error}") from error
    except Exception as error:
        raise InputError(f"{role} {path!r}: importing {name} raised {type(error).__name__}: {error}") from error


def load_file(name: str, path: str, role: str) -> ModuleType:
    """Run a Python file as a module of its own; the same file is run once."""
    file = Path(name).expanduser().resolve()
    if not file.is_file():
        raise InputError(f"{role} {path!r}: there is no file {file}")
    key = f"alignkit_reward_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        raise InputError(f"{role} {path!r}: running {file} raised {type(error).__name__}: {error}") from error
    return module
