"""The constraints that a YAML may name, and how its entries become judges of completions."""

import difflib
from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError

from .constraint_verdicts import NOT_APPLICABLE, UNKNOWN, Verdicts
from .guard import DEADLINE, Guard, guard_reward
from .importing import DOTTED, import_object
from .resolve import JUDGE, Entry, called, made, read_entry
from .table import OURS, NamedReward


RULES = f"{OURS}.constraint_rules"

CONSTRAINTS: dict[str, NamedReward] = {
    "math_answer": NamedReward(
        f"{OURS}.answers:math_accuracy", "math-verify finds the answer right (column `answer`), in killable workers"
    ),
    "exact_answer": NamedReward(
        f"{OURS}.answers:ExactAnswerReward", "the final answer is the text of the column `answer`"
    ),
    "boxed_once": NamedReward(f"{OURS}.formats:boxed_once", r"exactly one \boxed{...}, closed, not empty", False),
    "think_tags": NamedReward(f"{OURS}.formats:ThinkTagsReward", "one <think>...</think> and an answer after it"),
    "pattern": NamedReward(
        f"{RULES}:PatternConstraint",
        "`pattern` (or that of the row's `column`) is found; `forbidden: true`: is not; `whole: true`: matches all",
    ),
    "length": NamedReward(
        f"{RULES}:LengthConstraint", "between `minimum` and `maximum` tokens (`unit`: words, characters)"
    ),
    "words": NamedReward(
        f"{RULES}:WordsConstraint", "no word of `forbidden` or of the list in `file`, every word of `required`"
    ),
    "no_refusal": NamedReward(f"{RULES}:NoRefusalConstraint", "no usual sentence of a refusal (or of `phrases`)"),
}

FORMS = (
    "a name (`alignkit.rewards.CONSTRAINTS`), judge:SPEC with `at_least`, package.module:function or "
    "path/to/file.py:function"
)


def resolve_constraints(specs: Any, deadline: float | None = DEADLINE, taken: Sequence[str] = ()) -> list[Guard]:
    """The constraints that the entries name, each a guarded function that gives 1, 0, or None where it is unknown.

    Args:
        specs: one entry or a list, of the forms that `resolve_reward_funcs` takes; names are those of `CONSTRAINTS`, a
            function is one of the judge protocol (`Verdicts`), and `judge:SPEC` takes `at_least` and `failed`
            (`JudgeConstraint`). No entry has a weight.
        deadline: seconds for one call, for entries that give none.
        taken: names under which something else is logged; a constraint of such a name gets a number.

    Raises `InputError` naming the entry and what is wrong with it.
    """
    listed = specs if isinstance(specs, (list, tuple)) else [specs]
    names, guards = list(taken), []
    for index, spec in enumerate(listed):
        entry = read_constraint(spec, index, deadline)
        guard = resolve_constraint(entry)
        name, number = guard.__name__, 2
        while guard.__name__ in names:
            if entry.label:
                raise InputError(f"{entry.place}: the name {name!r} is taken; choose another under `as`")
            guard.__name__ = f"{name}_{number}"
            number += 1
        names.append(guard.__name__)
        guards.append(guard)
    return guards


def read_constraint(spec: Any, index: int, deadline: float | None) -> Entry:
    """Take an entry apart; messages name it a constraint."""
    try:
        entry = read_entry(spec, index, deadline)
    except InputError as error:
        raise InputError(str(error).replace("reward function", "constraint", 1)) from None
    entry.place = entry.place.replace("reward function", "constraint", 1)
    if entry.weight is not None:
        raise InputError(f"{entry.place} has a weight; a constraint is satisfied or violated, and nothing weighs it")
    return entry


def resolve_constraint(entry: Entry) -> Guard:
    """The guarded function of an entry."""
    target, label = entry.target, entry.label
    function: Any
    if isinstance(target, str) and target in CONSTRAINTS:
        named = CONSTRAINTS[target]
        loaded = called(named.load(), entry) if named.makes else made(named.load(), entry)
        # A reward function says None where it cannot score; a rule, where it does not apply.
        function = Verdicts(loaded, NOT_APPLICABLE if named.target.startswith(RULES) else UNKNOWN)
        label = label or target
    elif isinstance(target, str) and target.startswith(JUDGE):
        from .constraint_judges import judge_constraint

        try:
            function = judge_constraint(target.removeprefix(JUDGE), **entry.parameters)
        except (InputError, TypeError) as error:
            raise InputError(f"{entry.place}: {error}") from error
    elif not isinstance(target, str):
        function = Verdicts(made(target, entry))
    elif ":" in target or DOTTED.fullmatch(target):
        function = Verdicts(made(import_object(target, "constraint"), entry))
    else:
        close = difflib.get_close_matches(target, CONSTRAINTS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else f"give {FORMS}; names: {', '.join(CONSTRAINTS)}"
        raise InputError(f"there is no constraint {target!r}: {hint}")
    cut = entry.has_deadline or not getattr(function, "ends_by_itself", False)
    return guard_reward(function, label, entry.deadline if cut else None)
