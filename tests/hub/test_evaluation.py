"""The evaluation table: the harness's own results file, and others that say the same in other words."""

import json

import pytest

from alignkit.errors import InputError
from alignkit.hub import export_adapter
from alignkit.hub.evaluation import read_evaluation


RESULTS = {
    "suite": "tiny_math",
    "models": [
        {
            "name": "/home/someone/base",
            "accuracy": 0.25,
            "ci_low": 0.2,
            "ci_high": 0.3,
            "n": 200,
            "n_correct": 50,
            "metrics": {"pass@4": {"value": 0.5, "ci_low": 0.4375, "ci_high": 0.5625}},
        },
        {"name": "dpo | beta=0.1", "accuracy": 0.5, "ci_low": 0.45, "ci_high": 0.55, "n": 200},
    ],
    "comparisons": [
        {"model": "dpo", "baseline": "base", "difference": 0.25, "ci_low": 0.18, "ci_high": 0.32, "n": 200}
    ],
}


@pytest.fixture
def write(tmp_path):
    def write_results(content):
        path = tmp_path / "results.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_results


def test_table_shows_every_model_with_interval_and_n(write):
    table = read_evaluation(write(RESULTS)).tables()
    assert "| base | accuracy | 0.25 | [0.2, 0.3] | 200 |" in table
    assert "| base | pass@4 | 0.5 | [0.4375, 0.5625] | – |" in table
    assert "| dpo \\| beta=0.1 | accuracy | 0.5 | [0.45, 0.55] | 200 |" in table
    assert "| dpo − base | difference | 0.25 | [0.18, 0.32] | 200 |" in table
    assert "someone" not in table


def test_card_carries_the_table(write, adapter, tmp_path):
    result = export_adapter(adapter, tmp_path / "out", eval_results=write(RESULTS))
    text = (result.path / "README.md").read_text()
    assert "## Evaluation on `tiny_math`" in text
    assert "[0.45, 0.55]" in text
    evaluation = json.loads((result.path / "alignkit.json").read_text())["evaluation"]
    assert evaluation["models"][0] == {
        "name": "base",
        "task": None,
        "metric": "accuracy",
        "value": 0.25,
        "low": 0.2,
        "high": 0.3,
        "n": 200,
    }


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ({"models": {"m": {"score": 3}}}, "| m | score | 3 | – | – |"),
        (
            {"models": [{"model": "m", "win_rate": 0.5, "ci": [0.4, 0.6], "n_items": 9}]},
            "| m | win_rate | 0.5 | [0.4, 0.6] | 9 |",
        ),
        (
            {"models": [{"name": "m", "tasks": {"gsm8k": {"accuracy": 0.1, "ci_low": 0.0, "ci_high": 0.2, "n": 5}}}]},
            "| m | gsm8k | accuracy | 0.1 | [0, 0.2] | 5 |",
        ),
        ({"models": [{"name": "m", "metrics": [{"name": "pass@1", "value": 0.1}]}]}, "| m | pass@1 | 0.1 | – | – |"),
        ({"models": [{"name": "m", "accuracy": True}, {"name": "k", "accuracy": 1}]}, "| k | accuracy | 1 | – | – |"),
        (
            {"models": [{"name": "m", "accuracy": 1}], "differences": [{"a": "m", "b": "k", "delta": -0.5}]},
            "| m − k | delta | -0.5 | – | – |",
        ),
    ],
)
def test_other_shapes_are_read_as_far_as_they_go(write, content, row):
    assert row in read_evaluation(write(content)).tables()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ({"models": []}, "has no figure to show"),
        ({"models": [{"name": "m", "accuracy": "high"}], "suite": "x"}, r"found the fields \['models', 'suite'\]"),
    ],
)
def test_file_without_figures_is_refused_and_nothing_is_exported(write, adapter, tmp_path, content, said):
    with pytest.raises(InputError, match=said):
        export_adapter(adapter, tmp_path / "out", eval_results=write(content))
    assert not (tmp_path / "out").exists()


def test_missing_file_is_named(adapter, tmp_path):
    with pytest.raises(InputError, match=r"none.json cannot be read"):
        export_adapter(adapter, tmp_path / "out", eval_results=tmp_path / "none.json")
