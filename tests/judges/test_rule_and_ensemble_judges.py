"""Rules and ensembles: certain verdicts, conservative scores, members that fail are left out."""

import math

import numpy as np
import pytest

from alignkit.errors import InputError
from alignkit.judges import EnsembleJudge, ExactAnswerJudge, LengthJudge, PointwiseJudge, RegexJudge, VotingJudge


class TableJudge(PointwiseJudge):
    """Scores looked up by response."""

    def __init__(self, table: dict[str, float]) -> None:
        super().__init__()
        self.table = table

    def identity(self):
        return {"judge": "table", "table": {key: str(value) for key, value in self.table.items()}}

    def score_batch(self, prompts, responses):
        return np.array([self.table[response] for response in responses], dtype=float)


def test_rules_decide_for_certain_and_ties_are_one_half():
    shorter = LengthJudge()
    assert shorter.judge(["p"], [["a", "bbb", "c"]])[0].tolist() == [[0.5, 1, 0.5], [0, 0.5, 0], [0.5, 1, 0.5]]
    assert shorter.scores(["p"], [["a", "bbb"]]).tolist() == [[-1, -3]]
    assert LengthJudge(math.inf).compare("p", "a", "bbb") == 0.0
    assert LengthJudge(2, "words").scores(["p"], [["one two", "one two three four"]]).tolist() == [[0, -2]]
    assert RegexJudge(r"\\boxed\{").compare("p", r"\boxed{4}", "4") == 1.0
    assert RegexJudge("sorry", match_is_good=False).scores(["p"], [["sorry", "yes"]]).tolist() == [[0, 1]]
    assert len({LengthJudge().fingerprint, LengthJudge(3).fingerprint, RegexJudge("a").fingerprint}) == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RegexJudge("("), "no regular expression"),
        (lambda: LengthJudge(-1), "target is -1"),
        (lambda: LengthJudge(unit="tokens"), "unit is 'tokens'"),
        (lambda: EnsembleJudge([]), "at least one"),
        (lambda: EnsembleJudge([LengthJudge()], "median"), "median"),
        (lambda: EnsembleJudge([LengthJudge()], "uwo", coef=-1), "coef"),
        (lambda: EnsembleJudge([VotingJudge([LengthJudge()])]), "no scores"),
    ],
)
def test_bad_settings_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_exact_answers_are_graded_in_one_batch_and_ungradable_ones_are_nan():
    batches = []

    def grader(pairs):
        batches.append(pairs)
        return [None if "?" in response else response == gold for gold, response in pairs]

    chat = [{"role": "user", "content": "3+3"}]
    judge = ExactAnswerJudge(["2+2", chat], ["4", "6"], grader)
    preferences = judge.judge(["2+2", chat], [["4", "5", "?"], ["6", "6", "7"]])
    assert batches == [[("4", "4"), ("4", "5"), ("4", "?"), ("6", "6"), ("6", "6"), ("6", "7")]]
    assert preferences[0, 0, 1] == 1.0 and math.isnan(preferences[0, 0, 2])
    assert preferences[1].tolist() == [[0.5, 0.5, 1], [0.5, 0.5, 1], [0, 0, 0.5]]
    assert judge.stats.failures == {"ungraded": 1}
    with pytest.raises(InputError, match="no answer is known"):
        judge.compare("9+9", "1", "2")
    with pytest.raises(InputError, match="row 1"):
        ExactAnswerJudge(["a", "a"], ["1", "2"], grader)


def test_an_ensemble_combines_scores_and_leaves_failed_members_out():
    judges = [TableJudge({"a": 1.0, "b": 0.0}), TableJudge({"a": -1.0, "b": math.nan})]
    assert EnsembleJudge(judges).scores(["p"], [["a", "b"]]).tolist() == [[0.0, 0.0]]
    assert EnsembleJudge(judges, "wco").scores(["p"], [["a", "b"]]).tolist() == [[-1.0, 0.0]]
    uwo = EnsembleJudge(judges, "uwo", coef=0.5)
    assert uwo.scores(["p"], [["a", "b"]]).tolist() == [[-0.5, 0.0]]
    assert uwo.compare("p", "b", "a") == pytest.approx(1 / (1 + math.exp(-0.5)))
    lost = EnsembleJudge([TableJudge({"a": math.nan})])
    assert math.isnan(lost.scores(["p"], [["a"]])[0, 0]) and lost.stats.failures == {"no_member": 1}
    assert len({EnsembleJudge(judges, name).fingerprint for name in ("mean", "wco", "uwo")}) == 3
    assert len(uwo.stats.to_dict()["members"]) == 2


def test_calibration_brings_the_members_to_one_scale():
    table = {"a": 1.0, "b": 0.0, "c": -1.0}
    judges = [TableJudge(table), TableJudge({key: 100 + 50 * value for key, value in table.items()})]
    judge = EnsembleJudge(judges, "uwo", coef=1.0)
    before = judge.fingerprint
    judge.calibrate(["p"] * 3, list(table))
    deviation = math.sqrt(2 / 3)
    assert judge.scores(["p"], [["a", "b", "c"]])[0] == pytest.approx([1 / deviation, 0, -1 / deviation])
    assert judge.fingerprint != before
    with pytest.raises(InputError, match="same score"):
        EnsembleJudge([TableJudge({"a": 1.0, "b": 1.0})]).calibrate(["p"] * 2, ["a", "b"])


def test_votes_are_averaged_over_the_members_that_gave_one():
    judges = [LengthJudge(), RegexJudge("x"), TableJudge({"a": 0.0, "xx": math.nan})]
    vote = VotingJudge(judges)
    assert vote.judge(["p"], [["a", "xx"]])[0].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert math.isnan(VotingJudge(judges[2:]).compare("p", "a", "xx"))
    with pytest.raises(TypeError, match="no scores"):
        vote.scores(["p"], [["a", "xx"]])


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="responses"):
        LengthJudge().judge(["p"], [["a"], ["b"]])
