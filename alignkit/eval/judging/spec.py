"""Who judges: `--judge SPEC` as an endpoint under the benchmark's own prompts, or as one of our local judges.

official                  the benchmark's official judge at api.openai.com (key: OPENAI_API_KEY)
endpoint:MODEL            that model at api.openai.com (key: OPENAI_API_KEY)
endpoint:MODEL@URL        that model of a server that wants no key, http://localhost:8000/v1
FILE.yaml, FILE.json      fields of `EndpointOptions` (with `judge: llm`), or any other judge of `alignkit.judges`
MODEL_OR_ADAPTER          a reward model: folder, adapter folder or Hub name
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import InputError

from ..fingerprints import digest
from ..options import EvalOptions
from .benchmark import JudgedBenchmark


if TYPE_CHECKING:
    from alignkit.judges import EndpointOptions, Judge

PREFIX = "endpoint:"


@dataclass(frozen=True)
class EndpointJudge:
    """A model behind an endpoint, asked in the benchmark's words."""

    options: EndpointOptions
    fingerprint: str
    deviations: list[str]

    @property
    def name(self) -> str:
        return self.options.model

    @property
    def weighted(self) -> bool:
        return self.options.top_logprobs is not None

    def describe(self) -> dict[str, Any]:
        """What the report says of it; the key's variable is named, the key is nowhere."""
        sampling = self.options.sampling()
        return {"judge": self.name, "base_url": self.options.base_url, **sampling, "fingerprint": self.fingerprint}


@dataclass(frozen=True)
class LocalJudge:
    """A judge of ours, in its own words: reward model, pair model, rule or ensemble."""

    judge: Judge
    name: str
    fingerprint: str
    deviations: list[str]

    def describe(self) -> dict[str, Any]:
        return {"judge": self.name, **self.judge.identity(), "fingerprint": self.fingerprint}


def resolve_judge(
    spec: str | None,
    benchmark: JudgedBenchmark,
    options: EvalOptions,
    resolve: Callable[[str], str] = lambda name: name,
) -> EndpointJudge | LocalJudge:
    """Find out what `spec` names. Nothing is loaded or asked. Raises `InputError` for what it cannot name."""
    if spec is None:
        raise InputError(
            f"suite {benchmark.suite.name} needs a judge: --judge official, endpoint:MODEL@URL, a judge file or a reward "
            "model"
        )
    if spec == "official":
        return endpoint_judge({}, benchmark, options)
    if spec.startswith(PREFIX):
        return endpoint_judge(parse_endpoint(spec), benchmark, options)
    if Path(spec).suffix in (".yaml", ".yml", ".json"):
        from alignkit.judges.spec import read_spec

        given = read_spec(Path(spec))
        if given.get("judge", "llm") == "llm":
            given.pop("judge", None)
            return endpoint_judge(given, benchmark, options)
    if not benchmark.pairwise:
        raise InputError(
            f"suite {benchmark.suite.name} has each answer rated by itself, in the benchmark's words, which {spec} cannot do: "
            "give --judge official, endpoint:MODEL@URL, or a file that describes an endpoint"
        )
    from alignkit.judges import load_judge

    local = {"batch_size": options.batch_size, "dtype": options.dtype, "device": options.device}
    judge = load_judge(spec, local, resolve)
    deviation = (
        f"Judged by {spec} in its own words, not by the benchmark's judge and prompt: the figures do not compare with "
        "published ones."
    )
    return LocalJudge(judge, spec, digest([benchmark.suite.name, judge.fingerprint]), [deviation])


def parse_endpoint(spec: str) -> dict[str, Any]:
    """`endpoint:MODEL[@URL]` as fields of `EndpointOptions`. With an address of its own no key is sent: a key belongs to
    the server it was made for, so a server that wants one is described in a file (`api_key_env`)."""
    model, at, url = spec.removeprefix(PREFIX).partition("@")
    if not model:
        raise InputError(f"{spec!r} names no model: write endpoint:MODEL or endpoint:MODEL@http://host:port/v1")
    return {"model": model, "base_url": url, "api_key_env": None} if at else {"model": model}


def endpoint_judge(given: Mapping[str, Any], benchmark: JudgedBenchmark, options: EvalOptions) -> EndpointJudge:
    """An endpoint judge: what `given` leaves open is the official judge's."""
    from alignkit.judges import EndpointOptions

    known = {own.name for own in fields(EndpointOptions)}
    if unknown := sorted(set(given) - known):
        raise InputError(
            f"the judge of {benchmark.suite.name} has no setting {unknown[0]!r}: the benchmark's own prompts are used, "
            f"and the endpoint has {', '.join(sorted(known))}"
        )
    values = {**benchmark.official_judge, **given}
    if options.concurrency is not None:
        values["max_concurrency"] = options.concurrency
    endpoint = EndpointOptions(**values)
    fingerprint = digest([benchmark.suite.name, benchmark.prompt_identity(), endpoint.sampling()])
    return EndpointJudge(endpoint, fingerprint, deviations(endpoint, benchmark))


def deviations(endpoint: EndpointOptions, benchmark: JudgedBenchmark) -> list[str]:
    """In plain words, where the judge is not the official one."""
    official, ours = benchmark.official_judge, asdict(endpoint)
    notes = []
    if endpoint.model != official["model"]:
        notes.append(
            f"Judged by {endpoint.model}, officially {official['model']}: figures under different judges do not compare."
        )
    changed = [
        f"{name} {ours[name]} (officially {value})"
        for name, value in official.items()
        if name in ("temperature", "top_p", "max_tokens", "top_logprobs") and ours[name] != value
    ]
    if changed:
        notes.append(f"The judge's settings differ from the official ones: {', '.join(changed)}.")
    return notes
