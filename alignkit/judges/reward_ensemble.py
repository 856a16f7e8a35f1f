"""Reward models as one judge; adapters on the same base share it, one forward pass per member."""

from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError
from alignkit.generation import LoadOptions

from .ensemble import EnsembleJudge
from .members import read_members
from .model_judge import LocalModel
from .reward_model import RewardModelJudge


class RewardEnsembleJudge(EnsembleJudge):
    """An ensemble of reward models (see `EnsembleJudge` for what the objectives are).

    Members that are adapters on one base lie beside each other on it, so that the base is loaded once; others are all
    held in memory.

    Args:
        model: folder of an ensemble that `alignkit train reward --ensemble` made, or a list of reward models.
        objective, coef, unbiased: as in `EnsembleJudge`.
        normalize: bring each member's scores to mean 0 and standard deviation 1 on its training responses; for the folder
            of an ensemble alone, which holds these numbers.
        options, max_length, plain_format: of each member, as in `RewardModelJudge`.
    """

    def __init__(
        self,
        model: str | Sequence[str],
        objective: str = "mean",
        coef: float = 0.1,
        unbiased: bool = False,
        normalize: bool = False,
        options: LoadOptions | None = None,
        max_length: int | None = None,
        plain_format: str | None = None,
    ) -> None:
        if isinstance(model, str):
            folders, normalization = read_members(model)
        else:
            folders, normalization = list(model), []
        if normalize and not normalization:
            raise InputError(
                "normalize needs the folder of an ensemble, which holds the scale of its members; models given one by one "
                "have none"
            )
        self.members = [RewardModelJudge(folder, options, max_length, plain_format) for folder in folders]
        super().__init__(self.members, objective, coef, unbiased, normalization if normalize else None)

    def _raw_scores(self, prompts, responses):
        models = [member.local for member in self.members]
        if len(models) > 1 and on_one_base(models):
            load_on_one_base(models)
        return super()._raw_scores(prompts, responses)


def on_one_base(models: Sequence[LocalModel]) -> bool:
    """Whether all are adapters on the same weights."""
    bases = {(model.source.model_path, model.source.model_revision) for model in models}
    return len(bases) == 1 and all(model.source.is_adapter for model in models)


def load_on_one_base(models: Sequence[LocalModel]) -> None:
    """Load the adapters onto one base, unless they are; each of `models` then scores with its own.

    Raises `InputError` for an adapter that does not fit the base or brings no score head.
    """
    from alignkit.generation import load_tokenizer
    from alignkit.generation.prompts import first_line

    from .classifier import LoadedModel, adapter_head, load_classifier

    if all(model.is_loaded for model in models):
        return
    first = load_classifier(models[0].source, models[0].options)
    for index, model in enumerate(models):
        source, options, tokenizer = model.source, model.options, first.tokenizer
        if index:
            if not adapter_head(source):
                raise InputError(f"adapter {source.name} brings no trained score head: it is no reward model")
            try:
                first.model.load_adapter(source.path, adapter_name=str(index), revision=source.revision)
            except (OSError, ValueError, RuntimeError) as error:
                raise InputError(
                    f"adapter {source.path} does not fit {source.model_path}: {first_line(error)}"
                ) from error
            tokenizer = load_tokenizer(source, options.chat_template, options.trust_remote_code)
        member = LoadedModel(Member(first.model, str(index) if index else "default"), tokenizer, first.max_positions)
        model.load(lambda source, options, member=member: member)
    first.model.eval()


class Member:
    """A model with several adapters, seen as the one with adapter `name`."""

    def __init__(self, model: Any, name: str) -> None:
        self._model, self._name = model, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._model, attribute)

    def __call__(self, **inputs: Any) -> Any:
        if self._model.active_adapter != self._name:
            self._model.set_adapter(self._name)
        return self._model(**inputs)
