"""What `alignkit eval` prints: help by section and by stage, and scores that a narrow screen can hold."""

import pytest

from alignkit.cli import main
from alignkit.cli.eval_tables import print_scores


@pytest.mark.parametrize(
    ("verb", "there", "absent"),
    [
        ([], ["judging (judged suites):", "--tolerance", "--judge", "--protocol", "alignkit eval suites"], []),
        (["judge"], ["--judge", "--max_cost"], ["--gamed"]),
        (["grade"], ["--out", "--predictions"], ["--judge", "--max_cost"]),
        (["score"], ["--gamed", "alpaca_eval2|arena_hard_v01|arena_hard_v2"], ["--max_cost"]),
        (["report"], ["--out"], ["--judge"]),
        (["score", "alpaca_eval2"], ["--annotations", "--row_number_compat"], []),
    ],
)
def test_help_of_a_stage_names_its_own_flags(verb, there, absent, capsys):
    assert main(["eval", *verb, "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert all(text in printed for text in there), printed
    assert not [text for text in absent if text in printed]


def test_every_option_of_an_evaluation_is_a_flag(capsys):
    from dataclasses import fields

    from alignkit.eval.options import EvalOptions

    main(["eval", "--help"])
    printed = capsys.readouterr().out
    assert [field.name for field in fields(EvalOptions) if f"--{field.name}" not in printed] == []


def test_scores_of_many_models_are_legible_at_eighty_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["win_rate", "standard_error", "length_controlled_winrate", "lc_standard_error", "discrete_win_rate"]
    names += ["avg_length", "n_total", "n_wins", "n_wins_base", "n_draws"]
    notes = ["taken from a reconstruction"]
    models = {name: dict.fromkeys(names, 25.24793) | {"notes": notes} for name in ("a-model", "FuseChat-Llama-3.1-8B")}
    models["a-model"] = models["a-model"] | {"notes": [*notes, "rows are missing"]}
    print_scores(models)
    printed = capsys.readouterr().out
    assert "…" not in printed and printed.count("25.2479") == 8
    assert "FuseChat-Llama-3.1-8B" in printed
    assert printed.count("note: taken from a reconstruction") == 1 and "note: a-model: rows are missing" in printed


def test_lm_evals_protocol_is_refused_with_the_suite_that_has_it(tmp_path, capsys):
    arguments = ["eval", "bundled/tiny-math", "--suite", "gsm8k", "--protocol", "lm-eval-5shot"]
    (tmp_path / "rows.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}\n')
    arguments += ["--data", str(tmp_path / "rows.jsonl")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert "--suite lm_eval:gsm8k, with --num_fewshot 5" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
