"""Every package that alignkit imports is declared: as a requirement, or as an extra with a hint where it is missing."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
# Imported only where they are already there, and not a thing that alignkit can ask pip for.
ELSEWHERE = {"vllm", "deepspeed"}


def imported_packages() -> dict[str, str]:
    """Top-level package -> a file that imports it."""
    found = {}
    for path in sorted((ROOT / "alignkit").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found.update({name.split(".")[0]: str(path.relative_to(ROOT)) for name in names})
    own = set(sys.stdlib_module_names) | {"alignkit"} | ELSEWHERE
    return {name: path for name, path in found.items() if name not in own}


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement)[0]).lower()


def test_every_imported_package_is_declared():
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {canonical(requirement) for group in groups for requirement in group}
    distributions = packages_distributions()
    packages = imported_packages()
    assert len(packages) > 20
    undeclared = {
        name: path
        for name, path in packages.items()
        # A package that is not installed here is looked for under its own name.
        if not {canonical(own) for own in distributions.get(name, [name])} & declared
    }
    assert undeclared == {}
