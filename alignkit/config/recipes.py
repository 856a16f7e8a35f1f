"""The shipped recipes: ready-to-run YAML files, one tiny and one full-size per method."""

from pathlib import Path

from ..errors import InputError
from .fields import nearest


def recipes_dir() -> Path:
    """Folder of the recipes: inside the installed package, or `configs/` of a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return folder
    raise InputError("the recipes are missing from this installation; install alignkit again.")


def recipes() -> dict[str, Path]:
    """Every recipe by name: `madpo` is ready to run on the bundled model, `madpo-full` is the full-size variant."""
    return {path.stem: path for path in sorted(recipes_dir().glob("*/*.yaml")) if path.parent.name != "accelerate"}


def recipe_path(name: str) -> Path:
    """Path of the recipe called `name`; `InputError` with the nearest names if there is none."""
    known = recipes()
    if name not in known:
        raise InputError(f"there is no recipe {name!r}; {nearest(name, known)} Recipes: {', '.join(known)}.")
    return known[name]
