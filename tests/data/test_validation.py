"""Validation: TRL's formats pass, the first problem is told in full, the others are counted."""

import pytest
from datasets import Dataset, IterableDataset

from alignkit.data import COLUMNS, ColumnSpec, check_numeric_column, column_specs, validate_rows
from alignkit.errors import InputError


PAIR = column_specs(("prompt", "chosen", "rejected"))


def turn(*messages: str) -> list[dict]:
    return [{"role": role, "content": text} for role, _, text in (message.partition(":") for message in messages)]


FORMATS = {
    "plain text": {"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
    "plain text, shared beginning": {"chosen": "The sky is blue.", "rejected": "The sky is green."},
    "conversation": {
        "prompt": turn("system:Be brief.", "user:Which colour?"),
        "chosen": turn("assistant:blue"),
        "rejected": turn("assistant:green"),
    },
    "conversation, shared beginning": {
        "chosen": turn("user:Which colour?", "assistant:blue"),
        "rejected": turn("user:Which colour?", "assistant:green"),
    },
    "several turns": {
        "prompt": turn("user:a", "assistant:b", "user:c"),
        "chosen": turn("assistant:d", "user:e", "assistant:f"),
        "rejected": turn("assistant:g"),
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_pair_format_of_trl_is_accepted(name):
    assert validate_rows(Dataset.from_list([FORMATS[name]] * 3), PAIR) == 3


def test_a_call_of_a_tool_needs_no_content():
    call = [{"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "add"}}]}]
    row = {**FORMATS["conversation"], "chosen": [*call, *turn("tool:3", "assistant:three")]}
    assert validate_rows(IterableDataset.from_generator(lambda: iter([row])), PAIR) == 1


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        (turn("user:a", "assistant:b"), turn("user:c", "assistant:d"), "share no beginning"),
        (turn("user:a", "assistant:b"), turn("user:a", "assistant:b", "assistant:c"), "the beginning of the other"),
        (
            turn("user:a", "assistant:b", "user:c", "assistant:d"),
            turn("user:a", "assistant:b", "assistant:e"),
            "ends with",
        ),
        ("The sky is", "The sky is blue.", "the beginning of the other"),
    ],
)
def test_an_implicit_prompt_must_exist_and_leave_two_responses(chosen, rejected, message):
    with pytest.raises(InputError, match=message):
        validate_rows(Dataset.from_list([{"chosen": chosen, "rejected": rejected}]), PAIR)


def test_a_text_prompt_beside_whole_conversations_is_refused_with_the_remedy():
    row = {"prompt": "Which colour?", **FORMATS["conversation, shared beginning"]}
    with pytest.raises(InputError, match=r"field `prompt`: .* remove the column: the conversations hold the prompt"):
        validate_rows(Dataset.from_list([row]), PAIR)


def test_the_first_problem_is_told_and_the_others_are_counted_by_field():
    rows = [dict(FORMATS["plain text"], reward_margin=0.0) for _ in range(6)]
    rows[1]["reward_margin"] = rows[2]["reward_margin"] = float("nan")
    rows[4]["chosen"] = rows[5]["chosen"] = "  "
    with pytest.raises(InputError) as caught:
        validate_rows(Dataset.from_list(rows), column_specs(("chosen", "rejected", "reward_margin")), source="pairs")
    assert str(caught.value) == (
        "pairs, row 1 (counting from 0), field `reward_margin`: the value is NaN; expected a finite number "
        "(and 1 more row in `reward_margin` and 2 more rows in `chosen`)."
    )


def test_a_streamed_data_set_is_checked_on_its_first_rows():
    def rows():
        for number in range(5000):
            yield {"x": float(number) if number < 2000 else float("nan")}

    stream = IterableDataset.from_generator(rows)
    check_numeric_column(stream, "x")
    assert validate_rows(stream, (ColumnSpec("x", "number"),)) == 1000
    with pytest.raises(InputError, match="row 2000"):
        validate_rows(stream, (ColumnSpec("x", "number"),), limit=3000)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([0.1, 1.2], {"low": 0.0, "high": 1.0}, r"row 1 .* the value is 1\.2; expected a number in \[0, 1\]"),
        ([-0.5], {"low": 0.0}, "at least 0"),
        ([[1.0, 2.0], [1.0]], {"length": 2}, "row 1 .* holds 1 numbers; expected 2"),
        ([[]], {"length": 0}, "the list is empty"),
        (["a"], {}, "the value is text"),
    ],
)
def test_a_numeric_column_is_held_to_its_range_and_length(values, options, message):
    with pytest.raises(InputError, match=message):
        check_numeric_column(Dataset.from_dict({"x": values}), "x", source="train_dataset", **options)


def test_lists_without_a_given_length_must_be_equally_long():
    dataset = Dataset.from_dict({"x": [[1.0, 2.0], [1.0, 2.0], [1.0]]})
    with pytest.raises(InputError, match=r"row 2 .* holds 1 numbers, but 2 in row 0"):
        validate_rows(dataset, (ColumnSpec("x", "numbers"),))


def test_a_column_of_the_table_keeps_its_range():
    with pytest.raises(InputError, match=r"expected a number in \[0, 1\]"):
        check_numeric_column(Dataset.from_dict({"chosen_win_rate": [1.5]}), "chosen_win_rate")


def test_a_missing_numeric_column_is_named_with_the_nearest():
    with pytest.raises(
        InputError, match="train: the column `reward_margin` is missing; did you mean to rename `margin`"
    ):
        check_numeric_column(Dataset.from_dict({"margin": [1.0]}), "reward_margin", source="train")


def test_margin_lists_are_as_long_as_the_weights_after_the_first():
    class Config:
        weights = [0.5, 0.25, 0.25]

    (spec,) = column_specs(("chosen_margin_rewards",), Config)
    assert spec.length == 2
    assert column_specs(("chosen_margin_rewards",))[0].length is None


def test_a_prompt_may_only_be_missing_beside_a_pair():
    assert column_specs(("prompt", "chosen", "rejected"))[0].optional
    assert not column_specs(("prompt", "answer"))[0].optional
    with pytest.raises(InputError, match="no format is known for the column `votes`"):
        column_specs(("votes",))


def test_every_column_that_a_method_names_is_in_the_table():
    from alignkit.catalog import METHODS

    # Images have checks of their own, in `alignkit.data.diffusion`.
    methods = [method for method in METHODS.values() if method.family != "diffusion"]
    assert {name for method in methods for name in method.columns} <= set(COLUMNS)


def test_an_empty_data_set_is_refused():
    with pytest.raises(InputError, match="holds no rows"):
        validate_rows(Dataset.from_dict({"x": []}), (ColumnSpec("x", "number"),))
