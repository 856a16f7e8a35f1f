"""`alignkit eval score arena_hard_v01|arena_hard_v2` from the command line."""

import json

import numpy as np
import pytest
from arena_world import lines, random_games, random_styles

from alignkit.cli import main
from alignkit.eval.arena_hard.score import score


def verdict_rows(games, **more):
    return [
        {"model": game.model, "question_id": game.question, "games": list(game.verdicts), **more} for game in games
    ]


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    games = random_games(rng, ["m", "n"], 40, null=0.05)
    styles = random_styles(rng, ["m", "n", "base"], 40)
    verdicts = lines(tmp_path / "verdicts.jsonl", verdict_rows(games))
    style = lines(
        tmp_path / "style.jsonl",
        [
            {
                "model": model,
                "uid": question,
                "metadata": {
                    "token_len": own.tokens,
                    "header_count": {"h1": own.headers, "h2": 0},
                    "list_count": own.lists,
                    "bold_count": {"**": own.bold},
                },
            }
            for (model, question), own in styles.items()
        ],
    )
    return verdicts, style


@pytest.mark.parametrize("suite", ["arena_hard_v01", "arena_hard_v2"])
def test_the_command_writes_score_and_interval_of_every_model(suite, files, tmp_path, capsys):
    verdicts, style = files
    command = [
        "eval",
        "score",
        suite,
        "--verdicts",
        str(verdicts),
        "--baseline",
        "base",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    plain = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert main([*command, "--style", str(style), "--style-control", "--num_resamples", "30"]) == 0
    controlled = json.loads((tmp_path / "out" / "scores.json").read_text())
    for table in (plain, controlled):
        assert set(table) == {"m", "n"}
        for row in table.values():
            assert 0 <= row["ci_low"] <= row["score"] <= row["ci_high"] <= 100
            assert row["counts"]["null_games"] > 0
    assert plain["m"]["score"] != controlled["m"]["score"]
    assert controlled["m"]["settings"]["optimizer"] == "converged"


def test_the_official_judgment_files_score_like_our_own(files, tmp_path):
    verdicts, _ = files
    rows = [json.loads(line) for line in verdicts.read_text().splitlines()]
    official = [
        {
            "uid": row["question_id"],
            "category": "hard_prompt",
            "judge": "gpt-4.1",
            "model": row["model"],
            "baseline": "base",
            "games": [
                None if game is None else {"score": game, "judgment": {"answer": "..."}} for game in row["games"]
            ],
        }
        for row in rows
    ]
    path = lines(tmp_path / "official.jsonl", official)
    ours = score("arena_hard_v2", verdicts=[verdicts], baseline="base")
    theirs = score("arena_hard_v2", verdicts=[path])
    assert ours == theirs


def test_several_categories_are_scored_each_against_its_own_baseline(tmp_path):
    rng = np.random.default_rng(1)
    hard, creative = random_games(rng, ["m"], 20), random_games(rng, ["m"], 10)
    rows = [
        *verdict_rows(hard, category="hard_prompt", baseline="o3"),
        *verdict_rows(creative, category="creative_writing", baseline="gemini"),
    ]
    for place, row in enumerate(rows):
        row["question_id"] += row["category"] if place else ""
    path = lines(tmp_path / "v.jsonl", rows)
    found = score("arena_hard_v2", verdicts=[path])["m"]
    assert (found["settings"]["category"], found["settings"]["baseline"]) == ("hard_prompt", "o3")
    assert found["score"] == found["categories"]["hard_prompt"]["score"]
    assert found["categories"]["creative_writing"]["settings"]["baseline"] == "gemini"
    alone = score("arena_hard_v2", verdicts=[path], category="creative_writing")["m"]
    assert alone["score"] == found["categories"]["creative_writing"]["score"]


def test_a_model_whose_games_are_all_null_has_no_score(tmp_path):
    rows = [
        {"model": "m", "question_id": "q0", "games": [None, None]},
        {"model": "n", "question_id": "q0", "games": ["A=B", "A=B"]},
    ]
    found = score("arena_hard_v2", verdicts=[lines(tmp_path / "v.jsonl", rows)], baseline="base")
    assert found["m"]["score"] is None
    assert found["m"]["counts"]["null_games"] == 2
    assert found["n"]["score"] == 50


def test_two_judges_of_one_question_are_pooled_and_one_judge_twice_is_refused(tmp_path, capsys):
    row = {"model": "m", "question_id": "q0", "games": ["B>A", "A>B"], "judge": "one"}
    other = {**row, "games": ["A>B", "B>A"], "judge": "two"}
    found = score("arena_hard_v01", verdicts=[lines(tmp_path / "v.jsonl", [row, other])], baseline="base")
    assert found["m"]["score"] == 50
    path = lines(tmp_path / "twice.jsonl", [row, row])
    assert main(["eval", "score", "arena_hard_v01", "--verdicts", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "row 1 (from 0): m was judged on question q0 before" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question_id": "q0", "games": ["A>B", "A>B"]}, "row 1 (from 0): model is missing"),
        ({"model": "m", "games": ["A>B", "A>B"]}, "question_id or uid is missing"),
        ({"model": "m", "question_id": "q1", "games": ["A>B"]}, "games has 1 entries; it must list two"),
        ({"model": "m", "question_id": "q1", "games": None}, "games has none entries"),
        ({"model": "m", "question_id": "q1", "games": [3, "A>B"]}, "game 0 is 3; it must be a label"),
        (
            {"model": "base", "question_id": "q1", "games": ["A>B", "A>B"]},
            "base is both the baseline and a judged model",
        ),
    ],
)
def test_a_malformed_row_is_named(row, message, tmp_path, capsys):
    good = {"model": "m", "question_id": "q0", "games": ["A>B", "A>B"]}
    path = lines(tmp_path / "v.jsonl", [good, row])
    command = ["eval", "score", "arena_hard_v2", "--verdicts", str(path), "--baseline", "base", "--out", str(tmp_path)]
    assert main(command) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give either --verdicts or --battles"),
        (["--battles", "B"], "--battles is a format of Arena-Hard v0.1"),
        (["--verdicts", "V", "--style-control"], "--style-control needs --style"),
        (["--verdicts", "nowhere.jsonl"], "data file nowhere.jsonl does not exist"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, message, tmp_path, capsys):
    assert main(["eval", "score", "arena_hard_v2", *flags, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_battle_without_the_baseline_is_named(tmp_path, capsys):
    rows = [{"question_id": "q0", "model_a": "x", "model_b": "y", "winner": "tie"}]
    path = lines(tmp_path / "b.jsonl", rows)
    assert main(["eval", "score", "arena_hard_v01", "--battles", str(path), "--out", str(tmp_path)]) == 2
    assert "x meets y; one of the two must be the baseline gpt-4-0314" in capsys.readouterr().err


def test_battles_count_for_the_candidate_on_either_side(tmp_path):
    rows = [
        {"question_id": "q0", "model_a": "gpt-4-0314", "model_b": "m", "winner": "model_b"},
        {"question_id": "q0", "model_a": "m", "model_b": "gpt-4-0314", "winner": "model_a"},
        {"question_id": "q1", "model_a": "m", "model_b": "gpt-4-0314", "winner": "tie (bothbad)"},
    ]
    found = score("arena_hard_v01", battles=lines(tmp_path / "b.jsonl", rows))
    assert found["m"]["score"] == pytest.approx(100 * 2.5 / 3)
