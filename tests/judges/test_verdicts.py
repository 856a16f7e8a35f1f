"""Reading a judge's reply: what is a verdict, and what is none."""

import math

import pytest

from alignkit.judges import Completion
from alignkit.judges.verdicts import parse_score, parse_verdict


def reply(text: str, logprobs=None) -> Completion:
    return Completion(text, "stop", 1, 1, None, logprobs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[A]]", 1.0),
        ("I would say [[A]] at first, but on reflection [[B]].", 0.0),
        ("[[ c ]]", 0.5),
        ("[[tie]]", 0.5),
        ("B", 0.0),
        ("**A**", 1.0),
        ("<think>[[A]] maybe</think>\n[[B]]", 0.0),
        ("<think>[[A]] maybe", None),
        ("A is better than B", None),
        ("[[D]]", None),
        ("", None),
        ("[[A>B]]", None),
    ],
)
def test_letters(text, value):
    assert parse_verdict(reply(text), "letter") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"verdict": "A"}', 1.0),
        ('```json\n{"reason": "uses {braces}", "verdict": "b"}\n```', 0.0),
        ('{"verdict": "A"} no, wait: {"winner": 2}', 0.0),
        ('{"verdict": "tie"}', 0.5),
        ('{"verdict": "neither"}', None),
        ('{"reason": "A"}', None),
        ('{"verdict": "A"', None),
        ("[[A]]", None),
    ],
)
def test_json_verdicts(text, value):
    assert parse_verdict(reply(text), "json") == value


def test_logprobs_use_the_first_token_only_and_need_one_of_the_labels():
    tokens = [{"A": math.log(0.1), " B": math.log(0.3), "x": -0.1}, {"A": 0.0}]
    assert parse_verdict(reply("B", tokens), "logprobs") == pytest.approx(0.25)
    assert parse_verdict(reply("m", [{"m": -1.0, "M": -2.0}]), "logprobs", ("m", "M")) == pytest.approx(
        1 / (1 + math.exp(-1))
    )
    assert parse_verdict(reply("x", [{"x": 0.0}]), "logprobs") is None
    assert parse_verdict(reply("A"), "logprobs") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[7.5]]", 7.5),
        ('{"score": 0}', 0.0),
        ("from [[3]] to [[4]]", 4.0),
        ("[[10.5]]", None),
        ("[[-1]]", None),
        ("7", None),
        ('{"score": "high"}', None),
        ('{"score": NaN}', None),
    ],
)
def test_scores(text, value):
    assert parse_score(reply(text), 0, 10) == value
