"""Suites and their items: golds out of every benchmark's trap, and errors that name the place."""

import json
import os

import pytest

from alignkit.errors import InputError
from alignkit.eval import load_suite, suite_names
from alignkit.eval.golds import GOLD_RULES
from alignkit.eval.items import load_items, read_rows
from alignkit.eval.judging.benchmark import JudgedBenchmark, load_benchmark
from alignkit.eval.options import EvalOptions
from alignkit.eval.protocols import PROTOCOLS, apply_protocol
from alignkit.rewards import GradingPool


DATA = os.environ.get("ALIGNKIT_EVAL_DATA")
OFFICIAL = {"gsm8k": 0, "math500": 0, "aime24": 0, "aime25": 0, "amc23": 0, "minerva": 0, "olympiadbench": 0}


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_can_be_read_and_names_things_that_exist(name):
    suite = load_suite(name)
    assert suite.protocol in PROTOCOLS
    if suite.kind == "judged":
        assert isinstance(load_benchmark(suite, EvalOptions()), JudgedBenchmark)
    elif suite.kind != "image_reward":
        assert suite.kind == "math" and suite.gold_rule in GOLD_RULES
    assert suite.n_samples == 1 or suite.temperature > 0


def test_unknown_suite_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no suite 'gsm8': did you mean gsm8k"):
        load_suite("gsm8")
    with pytest.raises(InputError, match=r"there are aime24"):
        load_suite("zzzzzz")


@pytest.mark.parametrize(
    ("rule", "value", "gold"),
    [
        ("as_is", " \\frac{1}{2} ", "\\frac{1}{2}"),
        ("after_hashes", "$129,200. #### 129,200", "129200"),
        ("after_hashes", "a #### 1 #### 2", "2"),
        ("number", 70, "70"),
        ("number", "204", "204"),
        ("number", 27.0, "27"),
        ("number", "027", "27"),
        ("number", 0.5, "0.5"),
        ("last_box", "\\boxed{1} then \\boxed{\\frac{1}{2}} m", "\\frac{1}{2}"),
        ("last_box", "1.6", "1.6"),
        ("final_answers", ["$\\frac{41}{12}$"], "\\frac{41}{12}"),
        ("final_answers", ["1,2"], "1,2"),
        ("final_answers", ["221,$8"], "221,8"),
        ("final_answers", ["\\{1\\}$."], "\\{1\\}"),
        ("final_answers", ["\\$5"], "\\$5"),
    ],
)
def test_gold_rules(rule, value, gold):
    assert GOLD_RULES[rule](value) == gold


@pytest.mark.parametrize(
    ("rule", "value"), [("after_hashes", "42"), ("number", "forty"), ("last_box", "\\boxed{1"), ("final_answers", [])]
)
def test_malformed_gold_is_refused(rule, value):
    with pytest.raises(ValueError):
        GOLD_RULES[rule](value)


def test_protocols_put_the_question_as_they_say():
    assert apply_protocol("bare", "Q") == [{"role": "user", "content": "Q"}]
    assert apply_protocol("boxed-cot", "Q")[-1]["content"].startswith("Q\n\n")
    assert [message["role"] for message in apply_protocol("qwen25-math", "Q")] == ["system", "user"]
    assert apply_protocol("qwen25-math", "Q")[-1]["content"] == "Q"
    with pytest.raises(InputError, match="did you mean boxed-cot"):
        apply_protocol("boxed_cot", "Q")


def test_rows_are_read_from_every_format_and_separators_inside_strings_split_nothing(tmp_path):
    rows = [{"question": "a\u2028b", "answer": "#### 1"}, {"question": "c", "answer": "#### 2"}]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "b.jsonl").write_text(lines, encoding="utf-8")
    assert read_rows(tmp_path / "a.json") == read_rows(tmp_path / "b.jsonl") == rows
    items, place = load_items(load_suite("gsm8k"), "bare", str(tmp_path / "b.jsonl"), limit=1)
    assert [item.gold for item in items] == ["1"] and place.endswith("b.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"question": "q", "answer": "#### 1"}\n{"question": "q"}', r"row 1 \(from 0\).*columns answer"),
        ('{"question": "q", "answer": "1"}', r"row 0 .*no gold in '1': no ####"),
        ('{"question": "q"', r"line 1: not valid JSON"),
        ("[1]", r"list of JSON objects"),
        ("", r"holds no rows"),
    ],
)
def test_bad_data_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "data.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_items(load_suite("gsm8k"), "bare", str(path))


def test_missing_data_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_items(load_suite("gsm8k"), "bare", str(tmp_path / "none.jsonl"))


def test_data_that_the_hub_cannot_give_say_what_to_do(monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)
    with pytest.raises(InputError, match=r"suite gsm8k .*--data.*gsm8k_test.jsonl.gz.*ALIGNKIT_EVAL_DATA"):
        load_items(load_suite("gsm8k"), "bare")


@pytest.mark.skipif(not DATA, reason="ALIGNKIT_EVAL_DATA names no folder with the official data")
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_golds_are_right_answers_to_themselves(name):
    suite = load_suite(name)
    items, _ = load_items(suite, suite.protocol)
    assert len(items) == suite.size
    with GradingPool(2) as pool:
        grades = pool.grade([(item.gold, f"\\boxed{{{item.gold}}}") for item in items])
    wrong = [(item.gold, grade.status) for item, grade in zip(items, grades, strict=True) if not grade.correct]
    assert len(wrong) <= OFFICIAL[name], wrong
