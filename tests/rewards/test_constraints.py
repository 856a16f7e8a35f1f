"""Constraints: what each judges, what a failure means, and that a task's function sees its own rows alone."""

import asyncio
import math

import pytest

from alignkit.errors import InputError
from alignkit.judges.base import PointwiseJudge
from alignkit.rewards import CONSTRAINTS, resolve_constraints
from alignkit.rewards.constraint_judges import JudgeConstraint
from alignkit.rewards.constraint_verdicts import Verdicts
from alignkit.rewards.guard import RewardError, guard_reward
from alignkit.rewards.per_task import for_tasks


def verdicts(entry, completions, **columns):
    """What TRL is given: 1, 0, or None where a verdict is unknown."""
    ids = [[0] * len(text) for text in completions]
    (constraint,) = resolve_constraints([entry])
    return constraint(completions, prompts=["?"] * len(completions), completion_ids=ids, **columns)


@pytest.mark.parametrize(
    "entry, completions, columns, expected",
    [
        ("boxed_once", [r"\boxed{7}", "7"], {}, [1, 0]),
        ("exact_answer", [r"\boxed{7}", "7", r"\boxed{7}"], {"answer": ["7", "7", None]}, [1, 0, None]),
        ({"name": "pattern", "pattern": "="}, ["1=1", "1"], {}, [1, 0]),
        ({"name": "pattern", "pattern": "=", "forbidden": True}, ["1=1", "1"], {}, [0, 1]),
        ({"name": "pattern", "pattern": r"\d+", "whole": True}, ["12", "12 "], {}, [1, 0]),
        ({"name": "pattern", "column": "form"}, ["ab", "ab", "ab"], {"form": ["a.", "c", None]}, [1, 0, 1]),
        ({"name": "length", "minimum": 2, "maximum": 3}, ["a", "ab", "abc", "abcd"], {}, [0, 1, 1, 0]),
        ({"name": "length", "maximum": 2, "unit": "words"}, ["one two", "one two three"], {}, [1, 0]),
        ({"name": "length", "column": "limit"}, ["abc", "abc", "abc"], {"limit": [2, 3, None]}, [0, 1, 1]),
        ({"name": "words", "forbidden": ["ass", "Bad word"]}, ["class", "an ASS", "bad  word"], {}, [1, 0, 0]),
        ({"name": "words", "required": ["yes", "no"]}, ["Yes or no", "yes"], {}, [1, 0]),
        ("no_refusal", ["Of course: 7", "I'm sorry, but I can’t help."], {}, [1, 0]),
    ],
)
def test_named_constraints_judge(entry, completions, columns, expected):
    assert verdicts(entry, completions, **columns) == expected


def test_math_answer_is_unknown_where_the_gold_cannot_be_read():
    found = verdicts("math_answer", [r"\boxed{1/2}", r"\boxed{3}", r"\boxed{3}"], answer=["0.5", "4", ""])
    assert found == [1, 0, None]


def test_forbidden_words_may_lie_in_a_file(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("# unsafe\nrogue\n\n", encoding="utf-8")
    assert verdicts({"name": "words", "file": str(file)}, ["a rogue", "# unsafe"]) == [0, 1]


def test_none_of_a_judge_is_satisfied_and_nan_is_unknown_and_both_are_counted():
    judge = Verdicts(lambda completions, **_: [True, False, None, math.nan])
    guard = guard_reward(judge, "mine")
    assert guard(["a"] * 4) == [1.0, 0.0, 1.0, None]
    assert judge.counts == {"not_applicable": 1, "unknown": 1}
    assert guard.counts["unknown"] == 1


def test_a_judge_that_raises_is_unknown_on_that_completion_alone():
    def judge(completions, **_):
        if "boom" in completions:
            raise RuntimeError("out of order")
        return [True] * len(completions)

    wrapped = Verdicts(judge)
    found = wrapped(["a", "boom", "c"])
    assert found[0] == found[2] == 1.0 and math.isnan(found[1])
    assert wrapped.counts == {"unknown": 1}


def test_a_judge_that_raises_on_everything_ends_the_run():
    def judge(completions, **_):
        raise RuntimeError("out of order")

    with pytest.raises(RewardError, match="judge raised RuntimeError: out of order"):
        guard_reward(Verdicts(judge))(["a", "b"])


@pytest.mark.parametrize("output", [[0.7, 1], [True], "yes"])
def test_anything_but_one_verdict_per_completion_is_refused(output):
    with pytest.raises(InputError, match="constraint .* returned"):
        Verdicts(lambda completions, **_: output)(["a", "b"])


class Scores(PointwiseJudge):
    def identity(self):
        return {"judge": "scores"}

    def score_batch(self, prompts, responses):
        import numpy as np

        return np.array([float(text) for text in responses])


def test_a_scoring_judge_is_satisfied_from_its_threshold_on_and_its_failures_are_unknown_or_violated():
    texts = ["3", "7", "nan"]
    assert JudgeConstraint(Scores(), at_least=7)(["?"] * 3, texts)[:2] == [0.0, 1.0]
    assert math.isnan(JudgeConstraint(Scores(), at_least=7)(["?"] * 3, texts)[2])
    assert JudgeConstraint(Scores(), at_least=7, failed="violated")(["?"] * 3, texts)[2] == 0.0
    with pytest.raises(InputError, match="`at_least` is missing"):
        JudgeConstraint(Scores())
    with pytest.raises(InputError, match="`failed` is 'satisfied'"):
        JudgeConstraint(Scores(), at_least=1, failed="satisfied")


def test_a_judge_by_its_spec():
    assert verdicts({"name": "judge:regex", "pattern": "a", "at_least": 1}, ["a", "b"]) == [1, 0]


def test_equal_names_are_told_apart():
    rules = [{"name": "pattern", "pattern": "a"}, {"name": "pattern", "pattern": "b"}, "boxed_once"]
    assert [item.__name__ for item in resolve_constraints(rules, taken=["boxed_once"])] == [
        "pattern",
        "pattern_2",
        "boxed_once_2",
    ]


@pytest.mark.parametrize(
    "entry, message",
    [
        ("boxed_onec", "there is no constraint 'boxed_onec': did you mean boxed_once"),
        ({"name": "boxed_once", "weight": 2}, "has a weight"),
        ({"pattern": "a"}, "constraint 0 .counted from 0. has no `name`"),
        ({"name": "pattern"}, "give one of `pattern` and `column`"),
        ({"name": "pattern", "pattern": "("}, "is no regular expression"),
        ({"name": "length"}, "give `minimum`, `maximum` or `column`"),
        ({"name": "length", "maximum": 2, "unit": "bytes"}, "unit is 'bytes'"),
        ({"name": "length", "minimum": 3, "maximum": 2}, "minimum is 3 and maximum 2"),
        ({"name": "words"}, "no word is given"),
        ({"name": "words", "forbidden": [""]}, "holds ''"),
        ({"name": "words", "file": "nowhere.txt"}, "nowhere.txt cannot be read"),
        ({"name": "judge:regex", "pattern": "a"}, "`at_least` is missing"),
        ({"name": "judge:regex", "patern": "a", "at_least": 1}, "constraint 0 .*patern"),
        ({"name": "length", "maximun": 3}, "has no parameter 'maximun'"),
    ],
)
def test_bad_entries_are_refused_by_name(entry, message):
    with pytest.raises(InputError, match=message):
        resolve_constraints([entry])


def test_an_async_constraint_is_refused():
    async def judge(completions):
        return [True] * len(completions)

    with pytest.raises(InputError, match="judge is async"):
        resolve_constraints([judge])


def test_every_named_constraint_has_a_line_of_help():
    assert all(item.help and item.load() is not None for item in CONSTRAINTS.values())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_task_s_function_sees_its_own_rows_and_logs_beside_the_others(is_async):
    seen, logged = [], {}

    def score(completions, answer, log_extra):
        seen.append((completions, answer))
        log_extra("note", list(completions))
        return [float(text == gold) for text, gold in zip(completions, answer, strict=True)]

    async def score_later(completions, answer, log_extra):
        return score(completions, answer, log_extra)

    guard = for_tasks(guard_reward(score_later if is_async else score), ["math"])
    given = {"answer": ["1", "2", "3"], "log_extra": logged.__setitem__}

    def call(tasks):
        result = guard(["1", "9", "9"], task=tasks, **given)
        return asyncio.run(result) if is_async else result

    assert call(["math", "chat", "math"]) == [1.0, None, 0.0]
    assert seen == [(["1", "9"], ["1", "3"])] and logged == {"note": ["1", None, "9"]}
    assert call(["chat"] * 3) == [None] * 3 and len(seen) == 1
