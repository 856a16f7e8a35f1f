"""Reading ratings, and the figures made of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignkit.eval.mt_bench.ratings import Rating, mean_rating, parse_rating, rating_counts, rating_metrics
from alignkit.eval.stats import bootstrap_mean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good. Rating: [[7]]", ("7", "double")),
        ("Rating: [[7.5]] ... on reflection [[3]]", ("7.5", "double")),
        ("Rating: [7]", ("7", "single")),
        ("`a[0]` is wrong. Rating: [[4]]", ("4", "double")),
        ("`a[0]` is wrong. Rating: 4", ("0", "single")),
        ("[[10]]", ("10", "double")),
        ("[[7.]]", ("7.", "double")),
        ("[[85]]", ("85", "double")),
        ("[[ 7 ]]", None),
        ("[[-1]]", None),
        ("[[seven]]", None),
        ("[[7/10]]", None),
        ("$ERROR$", None),
        ("", None),
    ],
)
def test_the_first_number_in_double_brackets_counts_else_in_single_ones(text, expected):
    assert parse_rating(text) == expected


@given(st.text(alphabet="[]0123456789. x", max_size=60))
def test_what_is_read_is_a_number(text):
    found = parse_rating(text)
    assert found is None or float(found[0]) >= 0


def ratings(values):
    """(first, second) per question."""
    return [
        Rating(str(question), turn, "math" if question % 2 else "stem", value)
        for question, pair in enumerate(values)
        for turn, value in zip((1, 2), pair, strict=True)
    ]


def test_the_score_is_the_mean_of_all_that_was_read_and_not_of_the_turns():
    metrics = rating_metrics(ratings([(8, None), (6, 4), (9, None)]), 200, 0.95)
    assert metrics["score"]["value"] == pytest.approx((8 + 6 + 4 + 9) / 4)
    assert metrics["first_turn"]["value"] == pytest.approx(23 / 3)
    assert metrics["second_turn"]["value"] == 4
    assert [metrics[name]["n"] for name in ("score", "first_turn", "second_turn")] == [4, 3, 1]


def test_unread_out_of_range_and_repeated_ratings_are_counted():
    counts = rating_counts([*ratings([(8, None), (85, 0)]), Rating("0", 1, "stem", 7.0)])
    assert counts == {"n_questions": 2, "n_ratings": 4, "n_unread": 1, "n_out_of_range": 2, "n_duplicates": 1}


def test_a_judge_that_rates_nothing_gives_no_score():
    found = mean_rating(ratings([(None, None)]), 200, 0.95)
    assert found["n"] == 0 and found["value"] != found["value"]


def test_both_turns_of_a_question_are_drawn_together():
    rng = np.random.default_rng(0)
    firsts = rng.integers(1, 11, size=60).astype(float)
    same = mean_rating(ratings([(value, value) for value in firsts]), 4000, 0.95)
    alone = bootstrap_mean(firsts, 4000)
    assert (same["ci_low"], same["ci_high"]) == pytest.approx((alone.ci_low, alone.ci_high))
    naive = bootstrap_mean(np.repeat(firsts, 2), 4000)
    assert same["ci_high"] - same["ci_low"] > 1.25 * (naive.ci_high - naive.ci_low)


def test_clusters_of_one_value_change_nothing():
    values = np.random.default_rng(1).normal(size=40)
    assert bootstrap_mean(values, 500, clusters=[str(place) for place in range(40)]) == bootstrap_mean(values, 500)


def test_the_mean_over_clusters_of_unequal_size_is_over_values():
    found = bootstrap_mean(np.array([1.0, 1.0, 1.0, 9.0]), 2000, clusters=["a", "a", "a", "b"])
    assert found.value == 3.0
    assert (found.ci_low, found.ci_high) == (1.0, 9.0)
