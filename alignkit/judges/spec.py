"""From a name, a file or a dictionary to a judge."""

import difflib
import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from alignkit.errors import InputError
from alignkit.generation import LoadOptions

from .base import Judge
from .endpoint import EndpointOptions
from .ensemble import EnsembleJudge, VotingJudge
from .llm import LLMJudge, LLMScoreJudge
from .members import is_ensemble
from .pair_model import PairModelJudge
from .pairrm import PairRMJudge
from .reward_ensemble import RewardEnsembleJudge
from .reward_model import RewardModelJudge
from .rules import LengthJudge, RegexJudge
from .side_by_side import LLMSideBySideJudge


# How each kind is built: its class, and the dataclass whose fields may be given beside the class's own arguments.
KINDS: dict[str, tuple[type[Judge], type[LoadOptions] | type[EndpointOptions] | None]] = {
    "reward_model": (RewardModelJudge, LoadOptions),
    "reward_ensemble": (RewardEnsembleJudge, LoadOptions),
    "pair_model": (PairModelJudge, LoadOptions),
    "pairrm": (PairRMJudge, LoadOptions),
    "llm": (LLMJudge, EndpointOptions),
    "llm_score": (LLMScoreJudge, EndpointOptions),
    "llm_side_by_side": (LLMSideBySideJudge, EndpointOptions),
    "regex": (RegexJudge, None),
    "length": (LengthJudge, None),
    "ensemble": (EnsembleJudge, None),
    "vote": (VotingJudge, None),
}


def load_judge(
    spec: str | dict[str, Any],
    options: dict[str, Any] | None = None,
    resolve: Callable[[str], str] = lambda name: name,
    cache: str | None = None,
) -> Judge:
    """Make the judge that `spec` describes. No model is loaded and nothing is asked yet.

    Args:
        spec: a model folder, adapter folder or Hub name (a reward model), or the folder of an ensemble of them; `KIND:MODEL` for another kind of local model,
            such as `pairrm:llm-blender/PairRM-hf`; a `.yaml`, `.yml` or `.json` file; or its
            content: `{"judge": KIND, ...}` with the arguments of the judge's class and, beside them, the fields of
            `LoadOptions` (local models) or `EndpointOptions` (endpoints). Members of "ensemble" and "vote" stand under
            `judges`, each a spec of its own.
        options: fields of `LoadOptions` (or `max_length`) that replace those of every local model in the spec.
        resolve: maps a model alias to a path.
        cache: file for the paid replies of endpoint judges that name none.

    Raises `InputError` naming the file and the key that is unknown, missing or out of range.
    """
    if isinstance(spec, str):
        if Path(spec).suffix in (".yaml", ".yml", ".json"):
            return load_judge(read_spec(Path(spec)), options, resolve, cache)
        kind, colon, model = spec.partition(":")
        if not colon or kind not in KINDS or KINDS[kind][1] is not LoadOptions:
            kind, model = "reward_ensemble" if is_ensemble(spec) else "reward_model", spec
        return load_judge({"judge": kind, "model": model}, options, resolve, cache)
    given = dict(spec)
    kind = given.pop("judge", None)
    if kind not in KINDS:
        raise InputError(f"judge is {kind!r}: it must be one of {', '.join(KINDS)}")
    judge_class, options_class = KINDS[kind]
    if "judges" in given:
        given["judges"] = [load_judge(member, options, resolve, cache) for member in given["judges"]]
    if options_class is LoadOptions:
        given |= {name: value for name, value in (options or {}).items() if value is not None}
        if isinstance(given.get("model"), str):
            given["model"] = resolve(given["model"])
        elif isinstance(given.get("model"), list):
            given["model"] = [resolve(name) for name in given["model"]]
    if options_class is EndpointOptions and cache is not None:
        given.setdefault("cache", cache)
    arguments = {name for name in inspect.signature(judge_class).parameters if name != "options"}
    option_names = {item.name for item in fields(options_class)} if options_class else set()
    for name in given:
        if name not in arguments | option_names:
            raise InputError(f"judge {kind} has no setting {name!r}{nearest(name, arguments | option_names)}")
    required = required_names(judge_class, options_class)
    if missing := sorted(required - set(given)):
        raise InputError(f"judge {kind} lacks the setting {missing[0]!r}")
    own = {name: value for name, value in given.items() if name in arguments}
    try:
        if options_class is not None:
            own["options"] = options_class(**{name: value for name, value in given.items() if name not in arguments})
        return judge_class(**own)
    except TypeError as error:
        raise InputError(f"judge {kind}: {error}") from error


def required_names(judge_class: type[Judge], options_class: Any) -> set[str]:
    """The settings without a default."""
    parameters = inspect.signature(judge_class).parameters.values()
    names = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    if options_class is not None:
        names |= {
            parameter.name
            for parameter in inspect.signature(options_class).parameters.values()
            if parameter.default is parameter.empty
        }
    return names - {"options"}


def read_spec(path: Path) -> dict[str, Any]:
    """The content of a judge file."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        spec = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"judge file {path} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"judge file {path} is not valid: {str(error).splitlines()[0]}") from error
    if not isinstance(spec, dict):
        raise InputError(f"judge file {path} holds a {type(spec).__name__}; it must hold keys, among them `judge`")
    return spec


def nearest(name: str, names: set[str]) -> str:
    """A hint: the known names that look like `name`, or all of them."""
    close = difflib.get_close_matches(name, sorted(names), n=3)
    return f": did you mean {' or '.join(close)}?" if close else f"; it has {', '.join(sorted(names))}"
