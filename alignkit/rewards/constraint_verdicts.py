"""From a function that judges completions to verdicts: 1 satisfied, 0 violated, NaN where it failed."""

import functools
import inspect
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from alignkit.errors import InputError

from .guard import callable_name, is_async


logger = logging.getLogger(__name__)

# What None means: that the constraint does not apply (our protocol), or that there is no verdict (reward functions).
NOT_APPLICABLE, UNKNOWN = "not_applicable", "unknown"


class Verdicts:
    """A function of the judge protocol, `judge(prompts, completions, **columns) -> list[bool | None]`, as a reward function.

    Args:
        function: takes what a TRL reward function takes, each by name; gives one verdict per completion: true (or 1),
            false (or 0), None, or NaN where it failed.
        none: what None means: `"not_applicable"` (counts as satisfied) or `"unknown"`.

    Returns 1.0, 0.0 or NaN for each completion; `counts` holds the kinds `unknown` and `not_applicable`. A function that
    raises is asked for each completion alone, and is unknown where it raises again.

    Raises:
        InputError: for an async function, a verdict of another value, or one verdict too many or too few.
        Exception: what the function raised, where it raises on every one of several completions: that is a bug.
    """

    count_kinds = (UNKNOWN, NOT_APPLICABLE)

    def __init__(self, function: Callable[..., Any], none: str = NOT_APPLICABLE) -> None:
        if is_async(function):
            raise InputError(f"constraint {callable_name(function)} is async, which constraints cannot be")
        self.function = function
        self.none = none
        self.own: Counter[str] = Counter()
        self.__name__ = callable_name(function)
        # A guard passes on what the signature takes, and looks for the columns that it names.
        self.__signature__ = inspect.signature(function)
        self.column = getattr(function, "column", None)
        self.ends_by_itself = getattr(function, "ends_by_itself", False)

    @property
    def counts(self) -> Counter[str]:
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        return self.own + Counter(getattr(function, "counts", {}))

    def __call__(self, completions: Sequence[Any], **given: Any) -> list[float]:
        takes = self.__signature__.parameters
        if "completions" in takes or any(item.kind is item.VAR_KEYWORD for item in takes.values()):
            given["completions"] = completions
        size = len(completions)
        try:
            output = self.function(**given)
        except InputError:
            raise
        except Exception as error:
            output = self.one_by_one(given, size, error)
        if not isinstance(output, (list, tuple)) or len(output) != size:
            raise InputError(
                f"constraint {self.__name__} returned {output!r:.80}; expected a list of {size} verdicts, one per completion"
            )
        return [self.read(value) for value in output]

    def one_by_one(self, given: dict[str, Any], size: int, error: Exception) -> list[Any]:
        """The verdicts of completions asked alone, NaN where the function raises."""
        output: list[Any] = []
        failed = 0
        for row in range(size):
            alone = {
                name: value[row : row + 1] if isinstance(value, (list, tuple)) and len(value) == size else value
                for name, value in given.items()
            }
            try:
                output.append(self.function(**alone)[0])
            except Exception:
                failed += 1
                output.append(math.nan)
        if failed == size > 1:
            raise error
        logger.warning("constraint %s failed on %d of %d completions: %s", self.__name__, failed, size, error)
        return output

    def read(self, value: Any) -> float:
        if hasattr(value, "item"):
            value = value.item()
        if value is None and self.none == NOT_APPLICABLE:
            self.own[NOT_APPLICABLE] += 1
            return 1.0
        if value is None or value != value:
            self.own[UNKNOWN] += 1
            return math.nan
        if value not in (0, 1):
            raise InputError(
                f"constraint {self.__name__} returned {value!r}; a verdict is true or false, None where the constraint does "
                "not apply, or NaN where it failed"
            )
        return float(value)
