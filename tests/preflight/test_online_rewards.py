"""What the trial of the rewards says, and what it refuses."""

import pytest

from alignkit.errors import InputError
from alignkit.preflight.online.rewards import columns_of, gold_text, require_columns, try_rewards
from alignkit.rewards import resolve_reward_funcs


ROWS = [
    {"prompt": [{"role": "user", "content": f"{n} + 1?"}], "answer": str(n + 1), "solution": f"\\boxed{{{n + 1}}}"}
    for n in (2, 3)
]


def needs(completions, difficulty, level=0, **columns):
    return [1.0 for _ in completions]


def trial(*entries, rows=ROWS):
    return try_rewards(resolve_reward_funcs(list(entries)), rows)


@pytest.mark.parametrize(
    ("entry", "columns"),
    [
        ("math_accuracy", ("answer",)),
        ({"name": "math_accuracy", "column": "gold"}, ("gold",)),
        ({"name": "cosine_length", "max_completion_length": 8}, ("answer",)),
        ("accuracy_reward", ("solution",)),
        ("boxed_once", ()),
        ({"name": "judge:length", "reference_column": "best"}, ("best",)),
        (needs, ("difficulty",)),
        ({"name": needs, "difficulty": 3}, ()),
    ],
)
def test_the_columns_of_a_reward_are_found_without_calling_it(entry, columns):
    (func,) = resolve_reward_funcs([entry]).funcs
    assert columns_of(func, ["prompt", "answer"]) == columns


def test_a_parameter_with_a_default_is_read_where_the_column_exists():
    (func,) = resolve_reward_funcs([needs]).funcs
    assert columns_of(func, ["prompt", "level"]) == ("difficulty", "level")


def test_a_missing_column_names_the_reward_and_the_nearest_column():
    rewards = resolve_reward_funcs(["math_accuracy"])
    with pytest.raises(
        InputError, match="`answer` is missing; did you mean to rename `answers`.*math_accuracy reads it"
    ):
        require_columns(rewards, ["prompt", "answers"], "data.jsonl")


def test_right_solutions_are_told_from_a_dummy():
    trials, warnings = trial({"name": "exact_answer", "weight": 0.5}, "boxed_once")
    assert [item.sentence for item in trials] == [
        "1 for the rows' own solutions, 0 for a dummy completion",
        "1 for the rows' own solutions, 1 for a dummy completion",
    ]
    assert [item.weight for item in trials] == [0.5, 1.0]
    assert not warnings


def test_an_answer_that_its_own_solution_does_not_meet_is_a_warning():
    rows = [{**row, "answer": f"see page {index}"} for index, row in enumerate(ROWS)]
    _, warnings = trial("exact_answer", rows=rows)
    assert len(warnings) == 1
    assert "gives the rows' own solutions no more than a dummy completion (0 against 0)" in warnings[0]


def test_a_reward_that_scores_nothing_is_a_warning():
    _, warnings = trial("exact_answer", rows=[{**row, "answer": None} for row in ROWS])
    assert warnings == ["the reward exact_answer scored none of 2 rows: it teaches nothing on such rows."]


def test_a_function_that_fails_is_bad_input():
    def broken(completions, **columns):
        return [columns["difficulty"][0]]

    with pytest.raises(InputError, match="broken raised KeyError"):
        trial(broken)


def test_a_judge_is_named_and_not_asked(monkeypatch):
    monkeypatch.setattr("alignkit.rewards.JudgeReward.__call__", lambda *args, **columns: pytest.fail("asked"))
    (item,), _ = trial({"name": "judge:length", "reference_column": "answer"})
    assert item.sentence == "a judge, not asked here"
    assert item.columns == ("answer",)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"answer": 7}, "The answer is \\boxed{7}."),
        ({"answer": "7", "solution": "3+4=7"}, "3+4=7"),
        ({"completion": [{"role": "assistant", "content": "Seven."}]}, "Seven."),
        ({"prompt": "3 + 4?"}, None),
    ],
)
def test_the_trial_completion_comes_from_the_row(row, text):
    assert gold_text(row) == text
