"""A judge as a reward function: its score of a completion, or its probability of beating the row's reference."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from alignkit.errors import InputError
from alignkit.judges import Judge, load_judge
from alignkit.judges.conversations import as_text
from alignkit.judges.spec import KINDS
from alignkit.judges.stats import JudgeStats


REFERENCE_COLUMN = "reference"


class JudgeReward:
    """A TRL reward function: what a judge says of each completion; None where it failed, counted by kind in `counts`.

    Args:
        judge: any judge.
        reference_column: reward the probability, in [0, 1], that the completion beats the response in this column
            (text or messages). None: the judge's score, or, from a judge that only compares, the column "reference".
    """

    def __init__(self, judge: Judge, reference_column: str | None = None) -> None:
        self.judge = judge
        self.reference_column = reference_column or (None if judge.has_scores else REFERENCE_COLUMN)
        self.__name__ = str(judge.identity().get("judge", "reward"))

    @property
    def counts(self) -> Counter[str]:
        return failures(self.judge.stats)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        texts = [as_text(completion) for completion in completions]
        if self.reference_column is None:
            values = self.judge.scores(list(prompts), [[text] for text in texts])[:, 0]
        else:
            references = [as_text(value) for value in self.references(columns)]
            values = self.judge.compare_batch(list(prompts), texts, references)
        return [None if value != value else value for value in values.tolist()]

    def references(self, columns: dict[str, Any]) -> Sequence[Any]:
        name = self.reference_column
        if name not in columns:
            raise InputError(
                f"the reward {self.__name__} compares with the dataset column {name!r}, but the columns are "
                f"{', '.join(sorted(columns))}; name another with reference_column"
            )
        for row, value in enumerate(columns[name]):
            if not value:
                raise InputError(
                    f"the reward {self.__name__} compares with the column {name!r}, but row {row} (counted from 0) of "
                    f"the batch has {value!r} there"
                )
        return columns[name]


def failures(stats: JudgeStats) -> Counter[str]:
    """Failures of a judge and of the members of an ensemble, by kind."""
    return sum((failures(part) for part in stats.parts), Counter(stats.failures))


def judge_reward(spec: str, reference_column: str | None = None, **settings: Any) -> JudgeReward:
    """The reward of the judge that `spec` names: a kind (with its settings), KIND:MODEL, a judge file, a reward model."""
    from alignkit.data.bundled import resolve_model

    if spec in KINDS:
        return JudgeReward(load_judge({"judge": spec, **settings}, resolve=resolve_model), reference_column)
    if not settings:
        return JudgeReward(load_judge(spec, resolve=resolve_model), reference_column)
    if spec.endswith((".yaml", ".yml", ".json")):
        raise InputError(f"judge:{spec} takes no setting {next(iter(settings))!r} here: write it into the file")
    kind, _, model = spec.partition(":")
    named = {"judge": kind, "model": model} if kind in KINDS else {"judge": "reward_model", "model": spec}
    return JudgeReward(load_judge({**named, **settings}, resolve=resolve_model), reference_column)
