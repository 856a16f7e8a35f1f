"""From the entries of a YAML to what TRL's trainers take as `reward_funcs`."""

import difflib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignkit.errors import InputError

from .guard import DEADLINE, Guard, callable_name, guard_reward, parameters_of
from .importing import DOTTED, import_object
from .models import check_reward_model, looks_like_model
from .table import REWARDS


JUDGE = "judge:"
# Keys of an entry that are not parameters of the function.
ENTRY_KEYS = ("name", "weight", "as", "deadline")
FORMS = (
    "a name (`alignkit.rewards.REWARDS`), judge:SPEC, package.module:function, path/to/file.py:function, or the folder "
    "or org/name of a reward model"
)


@dataclass(frozen=True)
class ResolvedRewards:
    """Reward functions as TRL takes them, in the order of the entries.

    Attributes:
        funcs: guarded functions; reward models as TRL takes them (a path or Hub name, or the model).
        names: under which TRL logs them, all different.
        weights: one per function; None where no entry gives one.
    """

    funcs: list[Any]
    names: list[str]
    weights: list[float] | None

    def merged_weights(self, reward_weights: Sequence[float] | None) -> list[float] | None:
        """The weights for TRL's `reward_weights`, from there or from the entries; `InputError` where both give some."""
        if reward_weights is None:
            return self.weights
        if self.weights is not None:
            raise InputError("weights are given twice: in `reward_weights` and as `weight` in `reward_funcs`")
        if len(reward_weights) != len(self.funcs):
            raise InputError(
                f"`reward_weights` has {len(reward_weights)} weights for {len(self.funcs)} reward functions "
                f"({', '.join(self.names)})"
            )
        return [checked_weight(weight, "`reward_weights`") for weight in reward_weights]


@dataclass
class Entry:
    """One entry of `reward_funcs`, taken apart; `place` names it in messages."""

    target: Any
    place: str
    weight: float | None
    label: str | None
    deadline: float | None
    has_deadline: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)


def resolve_reward_funcs(
    specs: Any, *, reward_kwargs: Mapping[str, Mapping[str, Any]] | None = None, deadline: float | None = DEADLINE
) -> ResolvedRewards:
    """Resolve and check `reward_funcs`; nothing is loaded but Python code.

    Args:
        specs: one entry or a list. An entry is a name of `REWARDS`; `judge:SPEC` with a judge file, a kind of judge or a
            reward model; `package.module:function` or `path/to/file.py:function`; the folder or Hub name of a reward
            model; a function or model; or a mapping with one of these under `name`, and `weight`, `as` (its name in
            the log), `deadline` (seconds for one call) and the function's own parameters beside it. A text that begins
            with a brace is read as such a mapping.
        reward_kwargs: parameters by name, for entries without a mapping of their own.
        deadline: for entries that give none; None: no deadline. A function with a true attribute `ends_by_itself` (it
            cuts each completion on its own) has no deadline unless its entry gives one.

    A function that takes none of `prompts`, `completions`, `completion_ids` and no `**kwargs` is taken for one that makes
    the reward function, as is a class; it is called with the parameters.

    Raises `InputError` naming the entry and what is wrong with it.
    """
    items = [specs] if isinstance(specs, (str, Mapping)) or callable(specs) else list(specs or [])
    left = dict(reward_kwargs or {})
    entries = [read_entry(item, index, deadline) for index, item in enumerate(items)]
    for entry in entries:
        if isinstance(entry.target, str) and entry.target in left:
            entry.parameters = {**left[entry.target], **entry.parameters}
    for name in left:
        if not any(entry.target == name for entry in entries):
            raise InputError(f"`reward_kwargs` names {name!r}, which is not among the reward functions")
    funcs = [resolve_entry(entry) for entry in entries]
    names = distinct_names(funcs, entries)
    weights = None
    if any(entry.weight is not None for entry in entries):
        weights = [1.0 if entry.weight is None else entry.weight for entry in entries]
    return ResolvedRewards(funcs, names, weights)


def read_entry(item: Any, index: int, deadline: float | None) -> Entry:
    """Take an entry apart."""
    if isinstance(item, str) and item.lstrip().startswith("{"):
        import yaml

        try:
            item = yaml.safe_load(item)
        except yaml.YAMLError as error:
            raise InputError(f"reward function {index} (counted from 0) is no mapping: {error}") from None
    if not isinstance(item, Mapping):
        return Entry(item, place_of(item, index), None, None, deadline)
    if not item.get("name"):
        raise InputError(f"reward function {index} (counted from 0) has no `name`; its keys are {', '.join(item)}")
    place = place_of(item["name"], index)
    weight = item.get("weight")
    return Entry(
        target=item["name"],
        place=place,
        weight=None if weight is None else checked_weight(weight, place),
        label=item.get("as"),
        deadline=checked_deadline(item["deadline"], place) if "deadline" in item else deadline,
        has_deadline="deadline" in item,
        parameters={key: value for key, value in item.items() if key not in ENTRY_KEYS},
    )


def place_of(target: Any, index: int) -> str:
    name = target if isinstance(target, str) else callable_name(target)
    return f"reward function {index} (counted from 0), {name!r}"


def checked_weight(weight: Any, place: str) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not math.isfinite(weight):
        raise InputError(f"{place}: the weight is {weight!r}; it must be a finite number")
    return float(weight)


def checked_deadline(deadline: Any, place: str) -> float | None:
    if deadline is not None and (not isinstance(deadline, (int, float)) or not 0 < deadline < math.inf):
        raise InputError(
            f"{place}: deadline is {deadline!r}; it must be a positive number of seconds, or null for none"
        )
    return deadline


def resolve_entry(entry: Entry) -> Any:
    """The guarded function, or the reward model, of an entry."""
    target, label = entry.target, entry.label
    if isinstance(target, Guard):
        return target
    if is_model(target):
        refuse_extras(entry)
        return target
    if not isinstance(target, str):
        function = made(target, entry)
    elif target in REWARDS:
        named = REWARDS[target]
        function = called(named.load(), entry) if named.makes else with_parameters(named.load(), entry)
        # TRL's own keep the names that TRL logs them under.
        label = label or (target if not named.target.startswith("trl.") else None)
    elif target.startswith(JUDGE):
        from .judged import judge_reward

        try:
            function = judge_reward(target.removeprefix(JUDGE), **entry.parameters)
        except InputError as error:
            raise InputError(f"{entry.place}: {error}") from error
    elif target.endswith(".py"):
        raise InputError(f"{entry.place}: name the function in it, as {target}:FUNCTION")
    elif ":" in target:
        function = made(import_object(target), entry)
    elif looks_like_model(target):
        refuse_extras(entry)
        return check_reward_model(target)
    elif DOTTED.fullmatch(target):
        function = made(import_object(target), entry)
    else:
        close = difflib.get_close_matches(target, REWARDS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"give {FORMS}; the names are {', '.join(REWARDS)}"
        raise InputError(f"there is no reward function {target!r}: {hint}")
    cut = entry.has_deadline or not getattr(function, "ends_by_itself", False)
    return guard_reward(function, label, entry.deadline if cut else None)


def is_model(target: Any) -> bool:
    """Whether `target` is a loaded model, known without importing torch."""
    return any(parent.__module__.startswith("torch.nn.") for parent in type(target).__mro__)


def refuse_extras(entry: Entry) -> None:
    extra = [*entry.parameters, *(["as"] if entry.label else [])]
    if extra:
        raise InputError(
            f"{entry.place} is a reward model, which TRL loads and calls; it takes no {extra[0]!r} (judge:NAME does)"
        )


def made(target: Any, entry: Entry) -> Callable[..., Any]:
    """A user's object as a reward function: called for one if it is a class or a maker, given its parameters if not."""
    if not callable(target):
        raise InputError(f"{entry.place} is a {type(target).__name__}, which cannot be called")
    if not (isinstance(target, type) or is_maker(target)):
        return with_parameters(target, entry)
    function = called(target, entry)
    if not callable(function):
        raise InputError(f"{entry.place} gave {function!r}, which cannot be called; a reward function was expected")
    return function


def is_maker(function: Any) -> bool:
    """Whether a function takes nothing that TRL passes, so that it can only make a reward function."""
    parameters = parameters_of(function)
    if parameters is None or any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        return False
    return not {"prompts", "completions", "completion_ids"} & set(parameters)


def called(maker: Callable[..., Any], entry: Entry) -> Callable[..., Any]:
    check_parameters(maker, entry)
    try:
        return maker(**entry.parameters)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{entry.place}: {' '.join(str(error).split())}") from error


def with_parameters(function: Callable[..., Any], entry: Entry) -> Callable[..., Any]:
    check_parameters(function, entry)
    return functools.partial(function, **entry.parameters) if entry.parameters else function


def check_parameters(function: Callable[..., Any], entry: Entry) -> None:
    """Refuse parameters that the function does not name (its `**kwargs` would swallow a wrong spelling)."""
    known = parameters_of(function)
    if known is None:
        return
    names = [name for name, item in known.items() if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]
    for name in entry.parameters:
        if name not in names:
            own = [item for item in names if item not in ("completions", "prompts", "completion_ids")]
            raise InputError(f"{entry.place} has no parameter {name!r}; it has {', '.join(own) or 'none'}")


def distinct_names(funcs: list[Any], entries: list[Entry]) -> list[str]:
    """The names that TRL will log; of functions with one name, the later ones get a number."""
    names: list[str] = []
    for func, entry in zip(funcs, entries, strict=True):
        if isinstance(func, Guard):
            name = func.__name__
            if name in names and entry.label:
                raise InputError(f"{entry.place}: the name {name!r} is taken; choose another under `as`")
            number = 2
            while func.__name__ in names:
                func.__name__ = f"{name}_{number}"
                number += 1
            names.append(func.__name__)
            continue
        path = func if isinstance(func, str) else getattr(getattr(func, "config", None), "_name_or_path", None)
        name = (path or type(func).__name__).split("/")[-1]
        if name in names:
            raise InputError(
                f"{entry.place} would be logged as {name!r}, as another reward is; use judge:NAME with `as`, or rename "
                "its folder"
            )
        names.append(name)
    return names
