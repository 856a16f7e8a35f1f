"""Stored answers graded from the command line: golds of every kind, several samples, agreement with stored verdicts."""

import gzip
import json
import os
from pathlib import Path

import pytest

from alignkit.cli import main


MATH = Path(os.environ.get("ALIGNKIT_EVAL_DATA", "/nowhere")) / "math"
needs_data = pytest.mark.skipif(not MATH.is_dir(), reason="ALIGNKIT_EVAL_DATA names no folder with math")


@pytest.fixture(autouse=True)
def pool_of_the_session(monkeypatch, grading_pool):
    """Starting a worker costs more than a test; the pool is left open for the next one."""
    from contextlib import nullcontext

    monkeypatch.setattr("alignkit.eval.stored_answers.GradingPool", lambda *arguments: nullcontext(grading_pool))


def write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def grade(tmp_path, rows, golds=None):
    arguments = ["--predictions", write(tmp_path / "p.jsonl.gz", rows), "--out", str(tmp_path / "out")]
    arguments += ["--gold", write(tmp_path / "g.jsonl.gz", golds)] if golds else []
    assert main(["eval", "grade", *arguments]) == 0
    return json.loads((tmp_path / "out" / "scores.json").read_text())


def test_golds_of_every_kind_are_reduced_to_their_answer(tmp_path):
    rows = [
        {"response": "so \\boxed{1,200}", "gold": "and that is\n#### 1,200"},
        {"response": "\\boxed{\\frac12}", "gold": "thus \\boxed{\\frac{1}{2}}."},
        {"response": "\\boxed{3}", "answer": 3},
        {"response": "\\boxed{4}", "final_answer": ["$4$"]},
        {"solution": "it is 5", "gold": "6"},
    ]
    scores = grade(tmp_path, rows)
    assert scores["accuracy"] == pytest.approx(80) and scores["n"] == 5 and "agreement" not in scores
    grades = [json.loads(line) for line in (tmp_path / "out" / "grades.jsonl").open()]
    assert [own["correct"] for own in grades] == [True, True, True, True, False]


def test_golds_are_joined_by_row_and_stored_verdicts_compared(tmp_path):
    golds = [{"answer": f"#### {number}"} for number in range(10)]
    rows = [
        {"row": 7, "solution": "A: 7", "is_correct": True},
        {"row": 2, "solution": "A: 3", "is_correct": False},
        {"row": 4, "solution": "A: 4", "is_correct": False},
    ]
    scores = grade(tmp_path, rows, golds)
    assert scores["accuracy"] == pytest.approx(200 / 3) and scores["n_disagree"] == 1
    assert scores["agreement"] == pytest.approx(200 / 3) and scores["stored"]["accuracy"] == pytest.approx(100 / 3)


def test_several_samples_give_pass_and_majority(tmp_path):
    rows = [
        {"responses": ["\\boxed{0.5}", "\\boxed{1/2}", "\\boxed{3}", "none"], "gold": "1/2"},
        {"responses": ["\\boxed{1}", "\\boxed{2}", "\\boxed{1}", "\\boxed{1}"], "gold": "2"},
    ]
    scores = grade(tmp_path, rows)
    assert scores["accuracy"] == scores["pass_at_k"]["1"] == pytest.approx(37.5)
    assert scores["pass_at_k"]["4"] == 100 and scores["maj_at_k"]["4"] == 50


def test_lm_eval_samples_are_read(tmp_path):
    rows = [{"doc_id": 0, "doc": {"question": "2+2"}, "target": "4", "resps": [["it is \\boxed{4}"]]}]
    assert grade(tmp_path, rows)["accuracy"] == 100


@pytest.mark.parametrize(
    ("rows", "golds", "message"),
    [
        ([{"response": "1"}], None, "row 0 (from 0): none of the columns gold"),
        ([{"gold": "1"}], None, "row 0 (from 0): none of the columns responses"),
        ([{"row": 5, "response": "1"}], [{"answer": "1"}], "row is 5; "),
        ([{"responses": ["1", "2"], "gold": "1"}, {"response": "1", "gold": "1"}], None, "rows have 1 to 2 answers"),
        (
            [{"responses": ["1", "2"], "gold": "1", "is_correct": [True]}],
            None,
            "is_correct has 1 values for 2 answers",
        ),
    ],
)
def test_bad_files_are_refused_by_row_and_column(tmp_path, capsys, rows, golds, message):
    arguments = ["--predictions", write(tmp_path / "p.jsonl.gz", rows)]
    arguments += ["--gold", write(tmp_path / "g.jsonl.gz", golds)] if golds else []
    assert main(["eval", "grade", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "accuracy"), [("gsm8k_graded_6b_finetuning", 21.68), ("gsm8k_graded_175b_verification", 56.25)]
)
def test_published_gsm8k_verdicts_are_agreed_with_entirely(tmp_path, name, accuracy):
    files = ["--predictions", str(MATH / f"{name}.jsonl.gz"), "--gold", str(MATH / "gsm8k_test.jsonl.gz")]
    assert main(["eval", "grade", *files, "--out", str(tmp_path)]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["agreement"] == 100 and scores["accuracy"] == pytest.approx(accuracy, abs=0.01)


@needs_data
def test_published_eight_samples_give_the_published_figures(tmp_path):
    path = MATH / "math100_8samples_graded.jsonl.gz"
    assert main(["eval", "grade", "--predictions", str(path), "--out", str(tmp_path)]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["n_disagree"] <= 1, "math-verify accepts one answer more than the published grades"
    stored = scores["stored"]
    assert [stored["pass_at_k"][k] for k in "1248"] == pytest.approx([87.75, 91.0714, 94.2286, 96.0], abs=1e-4)
    assert stored["maj_at_k"]["8"] == 90 and stored["best_of_n_by_reward"] == 92
