"""Labelling preference pairs: the labels are the judge's, a killed run goes on, nothing unscored slips through."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


sys.path.append(str(Path(__file__).parents[1] / "judges"))

from tiny_judges import save_classifier

from alignkit.cli.best_of_n import parse_numbers
from alignkit.data.labelling import label, label_margins, label_scores, label_win_rates, write_dataset
from alignkit.errors import InputError
from alignkit.judges import LengthJudge, PointwiseJudge, RegexJudge, RewardModelJudge, VotingJudge
from alignkit.judges.best_of_n import best_of_n_rows


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory) -> str:
    return save_classifier(tmp_path_factory.mktemp("reward_model"))


def plain_rows(count: int) -> list[dict]:
    return [{"prompt": f"{n}+1=", "chosen": f"{n + 1}", "rejected": f"about {n}", "id": n} for n in range(count)]


def chat_rows(count: int) -> list[dict]:
    def message(role: str, content: str) -> list[dict]:
        return [{"role": role, "content": content}]

    return [
        {
            "prompt": message("user", row["prompt"]),
            "chosen": message("assistant", row["chosen"]),
            "rejected": message("assistant", row["rejected"]),
        }
        for row in plain_rows(count)
    ]


def make_dataset(rows: list[dict]):
    from datasets import Dataset

    return Dataset.from_list(rows)


class CountingJudge(PointwiseJudge):
    """Scores -length, counts what it is asked, and can be told to fail or to be interrupted."""

    def __init__(self, fails=(), stop_after: int | None = None) -> None:
        super().__init__()
        self.asked = 0
        self.fails = fails
        self.stop_after = stop_after

    def identity(self):
        return {"judge": "counting"}

    def score_batch(self, prompts, responses):
        if self.stop_after is not None and self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += len(responses)
        return np.array([self.fails.get(r, -len(r)) if self.fails else -len(r) for r in responses], dtype=float)


@pytest.mark.parametrize("rows", [plain_rows(5), chat_rows(5)], ids=["plain", "chat"])
def test_margins_scores_and_win_rates_are_the_reward_models(reward_model, rows):
    dataset = make_dataset(rows)
    judge = RewardModelJudge(reward_model)
    expected = judge.scores(dataset["prompt"], list(zip(dataset["chosen"], dataset["rejected"], strict=True)))
    scores = label_scores(dataset, judge).dataset
    assert np.allclose(np.array([scores["chosen_score"], scores["rejected_score"]]).T, expected, atol=1e-5)
    margins = label_margins(dataset, judge, tau=0.5)
    h = expected[:, 0] - expected[:, 1]
    assert np.allclose(margins.dataset["reward_margin"], h, atol=1e-5)
    assert margins.report["abs_margin_quantiles"]["0.5"] == pytest.approx(np.median(np.abs(h)), abs=1e-5)
    assert margins.report["share_margin_negative"] == np.mean(h < 0)
    assert margins.report["share_margin_at_most_minus_tau"] == np.mean(h <= -0.5)
    assert margins.report["fingerprint"] == judge.fingerprint
    wins = label_win_rates(dataset, judge).dataset
    assert np.allclose(wins["chosen_win_rate"], 1 / (1 + np.exp(-h)), atol=1e-5)
    assert np.allclose(np.add(wins["chosen_win_rate"], wins["rejected_win_rate"]), 1)
    assert wins.column_names[: len(dataset.column_names)] == dataset.column_names


def test_a_pair_that_holds_its_prompt_gets_the_label_of_the_one_that_names_it():
    rows = chat_rows(3)
    whole = [{name: row["prompt"] + row[name] for name in ("chosen", "rejected")} for row in rows]
    named, implicit = (label_scores(make_dataset(each), LengthJudge()).dataset for each in (rows, whole))
    assert named["chosen_score"] == implicit["chosen_score"]
    assert named["rejected_score"] == implicit["rejected_score"]


def test_a_pairwise_judge_gives_win_rates_and_nothing_else():
    judge = VotingJudge([LengthJudge(), RegexJudge("about")])
    labelled = label_win_rates(make_dataset(plain_rows(3)), judge)
    assert labelled.dataset["chosen_win_rate"][:] == [0.5] * 3
    assert labelled.report["chosen_win_rate_quantiles"]["1"] == 0.5
    assert "abs_margin_quantiles" not in labelled.report
    with pytest.raises(InputError, match="this judge gives none"):
        label_win_rates(make_dataset(plain_rows(3)), judge, tau=1.0)
    with pytest.raises(InputError, match="compares only"):
        label_margins(make_dataset(plain_rows(3)), judge)


def test_an_interrupted_run_goes_on_and_gives_the_same_rows(reward_model, tmp_path):
    dataset = make_dataset(plain_rows(20))
    whole = label_scores(dataset, RewardModelJudge(reward_model), block_rows=4).dataset.to_list()

    class Interrupted(RewardModelJudge):
        def score_batch(self, prompts, responses):
            if self.stats.calls >= 16:
                raise KeyboardInterrupt
            return super().score_batch(prompts, responses)

    cache = tmp_path / "cache.jsonl"
    with pytest.raises(KeyboardInterrupt):
        label_scores(dataset, Interrupted(reward_model), cache=cache, block_rows=4)
    lines = cache.read_text().splitlines(keepends=True)
    assert len(lines) == 8
    # The kill came within a record: that block is scored again, as a whole, and its rows come out bit for bit alike.
    cache.write_text("".join(lines[:7]) + lines[7][:20])
    judge = RewardModelJudge(reward_model)
    labelled = label_scores(dataset, judge, cache=cache, block_rows=4)
    assert labelled.dataset.to_list() == whole
    assert labelled.report["this_run"]["from_cache"] == 7 and judge.stats.calls == 2 * 16
    again = RewardModelJudge(reward_model)
    assert label_scores(dataset, again, cache=cache, block_rows=4).dataset.to_list() == whole
    assert again.stats.calls == 0 and again.local._loaded is None


def test_the_cache_belongs_to_one_judge_and_one_content_of_the_row(tmp_path):
    cache = tmp_path / "cache.jsonl"
    dataset = make_dataset(plain_rows(4))
    label_margins(dataset, CountingJudge(), cache=cache)
    same = CountingJudge()
    label_margins(dataset.select([3, 1]), same, cache=cache)  # another order, a part of the rows
    assert same.asked == 0
    longer = LengthJudge(math.inf)
    assert label_scores(dataset, longer, cache=cache).dataset["chosen_score"][0] == 1.0
    edited = dataset.map(lambda row: {"chosen": row["chosen"] + "!"})
    changed = CountingJudge()
    label_margins(edited, changed, cache=cache)
    assert changed.asked == 8


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_row_or_left_out_where_asked(bad, tmp_path):
    dataset = make_dataset(plain_rows(6))
    fails = {"4": bad}  # the chosen response of row 3
    with pytest.raises(InputError, match=r"row 3 \(counted from 0\)"):
        label_margins(dataset, CountingJudge(fails), block_rows=2)
    labelled = label_margins(dataset, CountingJudge(fails), block_rows=2, drop_failed=True)
    assert labelled.dataset["id"][:] == [0, 1, 2, 4, 5] and labelled.report["dropped"] == 1
    broken = CountingJudge({str(n): bad for n in range(10)})
    with pytest.raises(InputError, match="rows 0 to 1"):
        label_margins(dataset, broken, block_rows=2, drop_failed=True)
    assert broken.asked == 4


def test_bad_input_is_named():
    dataset = make_dataset(plain_rows(3))
    with pytest.raises(InputError, match="`chosen` is missing"):
        label_margins(dataset.remove_columns("chosen"), LengthJudge())
    with pytest.raises(InputError, match="`reward_margin` exists already"):
        label_margins(dataset.add_column("reward_margin", [0.0] * 3), LengthJudge())
    replaced = label_margins(dataset.add_column("reward_margin", [9.0] * 3), LengthJudge(), overwrite=True).dataset
    assert replaced["reward_margin"][0] == 6.0
    with pytest.raises(InputError, match="tau is -1"):
        label_margins(dataset, LengthJudge(), tau=-1)
    with pytest.raises(InputError, match="'margin': it must be one of"):
        label(dataset, LengthJudge(), "margin")
    with pytest.raises(InputError, match="row 1"):
        label_margins(make_dataset([*plain_rows(1), {**plain_rows(1)[0], "rejected": ""}]), LengthJudge())


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "folder"])
def test_every_output_is_read_back_as_it_was_and_replaces_an_older_one(name, tmp_path):
    from alignkit.data import load

    labelled = label_margins(make_dataset(chat_rows(3)), LengthJudge()).dataset
    for _ in range(2):
        write_dataset(labelled, tmp_path / name)
        assert load(str(tmp_path / name), "train").to_list() == labelled.to_list()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "words"), [("out.csv", "ends in .csv"), ("kept", "no data set")])
def test_an_output_that_cannot_be_is_refused(name, words, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match=words):
        write_dataset(make_dataset(plain_rows(1)), tmp_path / name)


def write_rows(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def run_command(*argv: str) -> int:
    from alignkit.cli import main

    return main(list(argv))


def test_the_label_command_writes_data_identity_and_spread(reward_model, tmp_path, capsys):
    data, out = write_rows(tmp_path / "pairs.jsonl", chat_rows(6)), tmp_path / "out.jsonl"
    arguments = ["label", "margins", "--dataset", data, "--model", reward_model, "--out", str(out)]
    assert run_command(*arguments, "--tau", "1", "--limit", "4", "--batch_size", "2") == 0
    rows = [json.loads(line) for line in out.open()]
    assert len(rows) == 4 and all(math.isfinite(row["reward_margin"]) for row in rows)
    report = json.loads(Path(f"{out}.label.json").read_text())
    judge = RewardModelJudge(reward_model)
    assert report["fingerprint"] == judge.fingerprint and report["judge"]["model"] == reward_model
    assert report["rows"] == report["labelled"] == 4 and report["tau"] == 1
    assert {"abs_margin_quantiles", "share_margin_negative", "share_margin_at_most_minus_tau"} <= set(report)
    printed = capsys.readouterr().out
    assert judge.fingerprint in printed and "|margin| quantiles" in printed and "margin at or below -1" in printed
    assert run_command(*arguments, "--limit", "6") == 0
    assert "rows from the cache: 4; calls: 12" in capsys.readouterr().out


def test_the_label_command_takes_a_judge_file(tmp_path, capsys):
    data = write_rows(tmp_path / "pairs.jsonl", plain_rows(3))
    judge = tmp_path / "judge.yaml"
    judge.write_text("judge: length\n")
    out = str(tmp_path / "out.parquet")
    assert run_command("label", "win_rates", "--dataset", data, "--model", str(judge), "--out", out) == 0
    assert "win rate of chosen, quantiles: 0% 1" in capsys.readouterr().out


def test_an_llm_judge_run_again_pays_only_for_what_failed(tmp_path, monkeypatch, capsys):
    from fake_endpoint import FakeEndpoint, Reply, longer_wins, shown

    monkeypatch.setenv("JUDGE_KEY", "sk-0123456789")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    rows = [{"prompt": f"p{n}", "chosen": "long answer", "rejected": "short"} for n in range(5)]
    data, out = write_rows(tmp_path / "pairs.jsonl", rows), tmp_path / "out.jsonl"
    down = True

    def behaviour(user: str, before: int) -> Reply:
        return Reply(status=400, body="no") if down and shown(user)[0] == "p3" else longer_wins(user)

    with FakeEndpoint(behaviour) as server:
        judge = tmp_path / "judge.json"
        spec = {"judge": "llm", "model": "m", "base_url": server.base_url, "api_key_env": "JUDGE_KEY"}
        judge.write_text(json.dumps(spec))
        arguments = ["label", "win_rates", "--dataset", data, "--model", str(judge), "--out", str(out)]
        assert run_command(*arguments) == 2
        assert "row 3 (counted from 0) got no finite score (refused: 2)" in capsys.readouterr().err
        assert server.calls == 10 and not out.exists()
        down = False
        assert run_command(*arguments) == 0
        assert server.calls == 12
    assert [json.loads(line)["chosen_win_rate"] for line in out.open()] == [1.0] * 5
    assert not any("sk-0123456789" in path.read_text() for path in tmp_path.iterdir())


def test_a_label_run_killed_with_minus_nine_ends_as_if_it_had_not_been(reward_model, tmp_path):
    data = write_rows(tmp_path / "pairs.jsonl", plain_rows(700))
    out, undisturbed = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    arguments = ["label", "scores", "--dataset", data, "--model", reward_model, "--batch_size", "8", "--out"]
    cache = Path(f"{out}.label.cache.jsonl")
    process = subprocess.Popen([sys.executable, "-m", "alignkit.cli", *arguments, str(out)], stderr=subprocess.DEVNULL)
    while process.poll() is None and (not cache.is_file() or cache.stat().st_size == 0):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()
    recorded = cache.read_bytes().count(b"\n")
    assert 0 < recorded < 700
    assert run_command(*arguments, str(out)) == 0
    assert run_command(*arguments, str(undisturbed)) == 0
    assert out.read_bytes() == undisturbed.read_bytes()
    report = json.loads(Path(f"{out}.label.json").read_text())
    assert report["this_run"]["from_cache"] == recorded


def response_rows() -> list[dict]:
    return [
        {"prompt": "p", "responses": ["a", "bbb", "cc", "dddd"], "gold": [1.0, 2.0, 3.0, 4.0]},
        {"prompt": [{"role": "user", "content": "q"}], "responses": ["x", "yy", "zzzz", "w"], "gold": [4, 3, 2, 1]},
    ]


def test_best_of_n_picks_the_highest_score_and_its_curve_is_the_mean_over_subsets():
    from itertools import combinations

    rows = response_rows()
    longest = LengthJudge(math.inf)
    result = best_of_n_rows(rows, [longest], [1, 2, 3], gold="gold")
    assert [row["index"] for row in result.picked] == [1, 2]  # of the first three responses
    assert result.picked[0]["completion"] == "bbb" and result.picked[0]["gold"] == 2.0
    assert result.picked[1]["completion"] == [{"role": "assistant", "content": "zzzz"}]
    for point in result.report["curve"]:
        n = point["n"]
        for name, value in (
            ("proxy", lambda row, i: len(row["responses"][i])),
            ("gold", lambda row, i: row["gold"][i]),
        ):
            means = []
            for row in rows:
                # Of two equally long responses the later one counts as the higher (the stable ascending sort).
                best = [
                    max(subset, key=lambda i, row=row: (len(row["responses"][i]), i))
                    for subset in combinations(range(4), n)
                ]
                means.append(np.mean([value(row, i) for i in best]))
            assert point[name] == pytest.approx(np.mean(means))
        assert point["kl"] == pytest.approx(math.log(n) - (n - 1) / n)


def test_best_of_n_combines_an_ensemble_conservatively_and_can_bring_it_to_one_scale():
    rows = [{"prompt": "p", "responses": ["a", "bb about", "ccc"]}]
    members = [LengthJudge(math.inf), RegexJudge("about", match_is_good=False)]
    mean = best_of_n_rows(rows, members, [3])
    assert mean.picked[0]["index"] == 1 and mean.picked[0]["member_scores"] == [8.0, 0.0]
    assert mean.picked[0]["score"] == 4.0
    assert best_of_n_rows(rows, members, [3], objective="wco").picked[0]["index"] == 0
    assert best_of_n_rows(rows, members, [3], objective="uwo", coef=1.0).picked[0]["score"] == 1.0
    scaled = best_of_n_rows(rows, members, [3], normalize=True)
    assert scaled.report["normalization"][0] == pytest.approx((4.0, np.std([1, 8, 3])))


def test_best_of_n_refuses_or_leaves_out_what_it_cannot_use(tmp_path):
    rows = response_rows()
    longest = LengthJudge(math.inf)
    for change, words in (
        ({"responses": ["only one"]}, "row 1 .*1 responses, but --n asks for 2"),
        ({"responses": ["a", None]}, "row 1 .*`responses`"),
        ({"gold": [1.0]}, "row 1 .*`gold`: expected 4 finite numbers"),
        ({"prompt": None}, "row 1 .*`prompt`"),
    ):
        with pytest.raises(InputError, match=words):
            best_of_n_rows([rows[0], {**rows[1], **change}], [longest], [1, 2], gold="gold")
    failing = CountingJudge({"zzzz": math.nan})
    with pytest.raises(InputError, match="row 1"):
        best_of_n_rows(rows, [failing], [2])
    kept = best_of_n_rows(rows, [failing], [2], drop_failed=True)
    assert kept.report["used"] == 1 and kept.report["rows"] == 2
    with pytest.raises(InputError, match="objective"):
        best_of_n_rows(rows, [longest], [2], objective="median")


@pytest.mark.parametrize("text", ["0,1", "2,x", ""])
def test_bad_numbers_of_samples_are_named(text):
    with pytest.raises(InputError, match="--n is"):
        parse_numbers(text)


def test_the_best_of_n_command_writes_picks_and_curve_and_scores_nothing_twice(reward_model, tmp_path, capsys):
    data, out = (
        write_rows(tmp_path / "responses.jsonl", [{**row, "prompt": "p"} for row in response_rows()]),
        tmp_path / "best.jsonl",
    )
    other = save_classifier(tmp_path / "other", seed=1)
    arguments = ["best-of-n", "--model", reward_model, other, "--responses", data, "--gold", "gold", "--out", str(out)]
    assert run_command(*arguments, "--n", "1,4", "--aggregate", "uwo") == 0
    picked = [json.loads(line) for line in out.open()]
    scores = [
        RewardModelJudge(folder).scores(["p"], [["a", "bbb", "cc", "dddd"]])[0] for folder in (reward_model, other)
    ]
    uwo = np.mean(scores, axis=0) - 0.5 * np.var(scores, axis=0)
    assert picked[0]["index"] == int(np.argmax(uwo)) and picked[0]["score"] == pytest.approx(uwo.max(), abs=1e-4)
    report = json.loads(Path(f"{out}.best_of_n.json").read_text())
    assert [point["n"] for point in report["curve"]] == [1, 4] and report["coef"] == 0.5
    assert len(report["members"]) == 2 and "gold" in capsys.readouterr().out
    recorded = Path(f"{out}.scores.cache.jsonl").read_text()
    assert run_command(*arguments, "--n", "1,2,4") == 0
    assert Path(f"{out}.scores.cache.jsonl").read_text() == recorded
