"""The reward functions of the house: their values, by formula and by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignkit.errors import InputError
from alignkit.rewards.answers import ExactAnswerReward, boxed_answers, final_answer, math_accuracy
from alignkit.rewards.formats import RegexReward, ThinkTagsReward, boxed_once
from alignkit.rewards.lengths import BrevityReward, CosineLengthReward, soft_overlong


def messages(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


@pytest.mark.parametrize(
    "text, reward",
    [
        (r"so \boxed{7}", 1.0),
        (r"so \boxed{\frac{1}{2}}.", 1.0),
        (r"\boxed{7} or \boxed{7}", 0.0),
        (r"\boxed{}", 0.0),
        (r"\boxed{ }", 0.0),
        (r"\boxed{7", 0.0),
        (r"\boxed7", 0.0),
        (r"\boxed{7} and \boxed 7", 0.0),
        ("7", 0.0),
        ("", 0.0),
    ],
)
def test_boxed_once(text, reward):
    assert boxed_once([text]) == boxed_once(messages(text)) == [reward]


@pytest.mark.parametrize(
    "text, reward",
    [
        ("<think>2+2</think>4", 1.0),
        ("\n<think>\n2+2\n</think>\n\n4", 1.0),
        ("<think></think>4", 0.0),
        ("<think>2+2</think> ", 0.0),
        ("<think>2+2", 0.0),
        ("2+2</think>4", 0.0),
        ("Well. <think>2+2</think>4", 0.0),
        ("<think>a</think>b<think>c</think>d", 0.0),
        ("<think>a<think>b</think>c", 0.0),
        ("<think>a</think>b</think>", 0.0),
    ],
)
def test_think_tags(text, reward):
    assert ThinkTagsReward()([text]) == [reward]


def test_think_tags_where_the_prompt_has_opened_the_thought():
    reward = ThinkTagsReward("<r>", "</r>", opened_in_prompt=True)
    assert reward(["2+2</r>4", "<r>2+2</r>4", "2+2"]) == [1.0, 0.0, 0.0]
    with pytest.raises(InputError, match="give two different ones"):
        ThinkTagsReward("<r>", "<r>")


def test_regex_searches_or_matches_the_whole():
    texts = ["x = 7\n", "7"]
    assert RegexReward(r"\d")(texts) == [1.0, 1.0] and RegexReward(r"\d", whole=True)(texts) == [0.0, 1.0]
    assert RegexReward(r"x.*\s", whole=True)(texts) == [1.0, 0.0]
    with pytest.raises(InputError, match="is no regular expression"):
        RegexReward("(")


@pytest.mark.parametrize(
    "text, answer",
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"<answer> blue </answer> #### 3", " blue "),
        ("2+2\n#### 4\n", "4"),
        ("Let me see.\nAnswer: 12", "12"),
        ("**Final answer:** 12", "12"),
        ("The answer: we do not know it yet is 12", None),
        ("12", None),
        (r"\boxed{open", None),
    ],
)
def test_final_answer_is_the_most_certain_mark(text, answer):
    assert final_answer(text) == answer


def test_nested_boxes_count_once_and_an_open_one_hides_none():
    assert boxed_answers(r"\boxed{a \boxed{b}} \boxed{c \boxed{d}") == [r"a \boxed{b}", "d"]


def test_exact_answer_compares_text_and_counts_what_has_none():
    reward = ExactAnswerReward()
    texts = [
        r"\boxed{1,234}",
        r"\boxed{Blue.}",
        r"\boxed{$ 7 $}",
        r"\boxed{0.5}",
        "no idea",
        r"\boxed{7}",
        r"\boxed{7}",
    ]
    golds = ["1234", "blue", 7, r"\frac12", "7", None, " "]
    assert reward(messages(*texts), answer=golds) == [1.0, 1.0, 1.0, 0.0, 0.0, None, None]
    assert reward.counts == {"unparsable": 1}
    assert reward([r"\boxed{(1,2)}"], answer=["(12)"]) == [0.0]
    with pytest.raises(InputError, match="reads the dataset column 'gold', but the columns are answer"):
        ExactAnswerReward("gold")(["7"], answer=["7"])


def test_math_accuracy_is_none_for_a_missing_gold_and_reads_the_last_message():
    reward = math_accuracy(num_workers=1)
    two_turns = [{"role": "assistant", "content": r"\boxed{1}"}, {"role": "assistant", "content": r"\boxed{0.5}"}]
    assert reward([two_turns, r"\boxed{7}", "hm"], answer=[r"\frac{1}{2}", None, "7"]) == [1.0, None, 0.0]
    assert reward.counts == {"ok": 1, "bad_gold": 1, "unparsable": 1}
    assert math_accuracy(num_workers=1).pool is reward.pool


def test_soft_overlong_is_the_formula_of_dapo():
    ids = [[0] * length for length in (0, 80, 90, 100, 101)]
    assert soft_overlong(100, 20)(completion_ids=ids) == [0.0, 0.0, -0.5, -1.0, -1.0]
    for cache in (-1, 101):
        with pytest.raises(InputError, match="soft_punish_cache is"):
            soft_overlong(100, cache)


def test_cosine_length_hits_its_ends_and_its_middle():
    reward = CosineLengthReward(100, num_workers=1)
    ids = [[0] * length for length in (0, 50, 100, 200)]
    right, wrong = [r"\boxed{7}"] * 4, [r"\boxed{8}"] * 4
    assert reward(right, completion_ids=ids, answer=["7"] * 4) == pytest.approx([1.0, 0.75, 0.5, 0.5])
    assert reward(wrong, completion_ids=ids, answer=["7"] * 4) == pytest.approx([-1.0, -0.75, -0.5, -0.5])
    assert reward(right[:1], completion_ids=ids[:1], answer=[None]) == [None]
    assert CosineLengthReward(100, exceed=-10.0).reward(True, 100) == -10.0


@given(st.integers(1, 10_000), st.integers(0, 20_000), st.booleans())
def test_cosine_length_equals_trls_schedule(longest, length, is_correct):
    start, end = (1.0, 0.5) if is_correct else (-1.0, -0.5)
    low, high = (end, start)  # TRL's (v_min, v_max): wrong answers have theirs swapped
    expected = low + 0.5 * (high - low) * (1 + math.cos(min(length / longest, 1) * math.pi))
    assert CosineLengthReward(longest).reward(is_correct, length) == pytest.approx(expected)
    assert min(start, end) - 1e-9 <= expected <= max(start, end) + 1e-9


def test_brevity_falls_from_one_to_zero():
    assert BrevityReward(10)(completion_ids=[[], [0] * 5, [0] * 10, [0] * 50]) == [1.0, 0.5, 0.0, 0.0]
    for make in (BrevityReward, CosineLengthReward, lambda length: soft_overlong(length, 0)):
        with pytest.raises(InputError, match="max_completion_length is 0; it must be above 0"):
            make(0)


def test_rewards_of_a_whole_conversation_read_its_last_message():
    parts = [{"role": "assistant", "content": [{"type": "text", "text": r"\boxed{7}"}]}]
    assert boxed_once([parts, []]) == [1.0, 0.0]
