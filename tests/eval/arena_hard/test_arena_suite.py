"""The suites from question to report, against an endpoint on this machine."""

import json

import pytest
from arena_world import CREATIVE, HARD, any_verdict, label_of, write_outputs, write_tree
from fake_endpoint import FakeEndpoint, Reply

from alignkit.cli import main
from alignkit.eval import evaluate
from alignkit.eval.arena_hard.score import score


SUITES = {"arena_hard_v01": ["q0", "q1", "q2"], "arena_hard_v2": ["h0", "h1", "h2", "c0", "c1"]}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)
    return write_tree(tmp_path / "arena-hard-auto")


def judged(tmp_path, tree, suite, server, out="out", **options):
    outputs = write_outputs(tmp_path / "candidate.jsonl", SUITES[suite])
    return evaluate(
        [str(outputs)],
        suite,
        tmp_path / out,
        data=str(tree),
        judge=f"endpoint:fake@{server.base_url}",
        num_resamples=200,
        **options,
    )


@pytest.mark.parametrize("suite", SUITES)
def test_every_question_is_played_twice_and_the_report_holds_the_score(suite, tmp_path, tree):
    with FakeEndpoint(any_verdict) as server:
        results = judged(tmp_path, tree, suite, server)
        assert server.calls == 2 * len(SUITES[suite])
        assert set(server.asked.values()) == {1}
        again = judged(tmp_path, tree, suite, server)
        assert server.calls == 2 * len(SUITES[suite])
    (model,) = results.models
    assert again.models[0].metrics == model.metrics
    assert 0 <= model.metrics[model.headline]["value"] <= 100
    assert results.paths["html"].is_file()
    systems = {body["messages"][0]["content"] for body in server.bodies}
    assert systems == ({"Judge this. Answer first."} | ({"Judge\nthis."} if suite == "arena_hard_v2" else set()))


def test_game_0_shows_the_baseline_first_and_each_category_has_its_own(tmp_path, tree):
    with FakeEndpoint(any_verdict) as server:
        judged(tmp_path, tree, "arena_hard_v2", server)
    base = {"h": HARD, "c": CREATIVE}
    expected = set()
    for uid in SUITES["arena_hard_v2"]:
        category = "hard_prompt" if uid[0] == "h" else "creative_writing"
        question = f"Q: {category} question {uid[1]} with {{braces}}"
        ours, theirs = f"candidate on {uid}", f"{base[uid[0]]} on {uid}"
        expected |= {f"{question} | A: {theirs} | B: {ours}", f"{question} | A: {ours} | B: {theirs}"}
    assert set(server.asked) == expected


def test_the_written_official_files_give_the_same_scores_again(tmp_path, tree):
    with FakeEndpoint(any_verdict) as server:
        results = judged(tmp_path, tree, "arena_hard_v2", server)
    (model,) = results.models
    files = sorted((tmp_path / "out" / "official").rglob("model_judgment/fake/*.jsonl"))
    (entry,) = score("arena_hard_v2", verdicts=files).values()
    assert entry["score"] == pytest.approx(model.metrics["hard_prompt_score"]["value"])
    creative = entry["categories"]["creative_writing"]["score"]
    assert creative == pytest.approx(model.metrics["creative_writing_score"]["value"])
    answers = {path.stem: path for path in (tmp_path / "out" / "official").rglob("model_answer/*.jsonl")}
    lengths = {name: len(path.read_text().splitlines()) for name, path in answers.items()}
    assert lengths == {"candidate": 5, HARD: 3, CREATIVE: 2}
    controlled = score("arena_hard_v2", verdicts=files, style=answers.values(), style_control="style", num_resamples=9)
    assert 0 <= controlled["candidate"]["score"] <= 100


def test_v01_asks_the_judge_to_continue_once_where_no_label_stands(tmp_path, tree):
    def forgetful(user, before):
        if user.startswith("continue"):
            return Reply("So: [[A=B]]")
        return Reply("Let me think about it.")

    with FakeEndpoint(forgetful) as server:
        results = judged(tmp_path, tree, "arena_hard_v01", server)
    assert server.calls == 12
    last = [body["messages"] for body in server.bodies if len(body["messages"]) > 2]
    assert [message["role"] for message in last[0]] == ["system", "user", "assistant", "user"]
    assert last[0][2]["content"] == "Let me think about it."
    assert results.models[0].metrics["score"]["value"] == 50


def test_v01_leaves_a_contradiction_null_without_asking_again(tmp_path, tree):
    def torn(user, before):
        contradicts = "A: base q0" in user
        return Reply("[[A>B]] or rather [[B>A]]" if contradicts else "[[A=B]]")

    with FakeEndpoint(torn) as server:
        results = judged(tmp_path, tree, "arena_hard_v01", server)
        judged(tmp_path, tree, "arena_hard_v01", server)
    assert server.calls == 6
    (model,) = results.models
    assert (model.counts["null_games"], model.counts["dropped_games"]) == (1, 1)
    assert model.metrics["score"]["value"] == 50
    assert any("conflicting: 1" in note for note in model.notes)


@pytest.mark.parametrize("suite", SUITES)
def test_a_judge_that_answers_nonsense_gives_a_report_that_says_so_and_no_score(suite, tmp_path, tree):
    with FakeEndpoint(lambda user, before: Reply("banana")) as server:
        results = judged(tmp_path, tree, suite, server)
    (model,) = results.models
    assert model.n_null == len(SUITES[suite])
    assert model.counts["null_games"] == 2 * len(SUITES[suite])
    stored = json.loads(results.paths["json"].read_text())["models"][0]
    assert stored["metrics"][stored["headline"]]["value"] is None
    assert "no verdict" in results.paths["markdown"].read_text()


def test_thoughts_of_a_reasoning_judge_hold_no_verdict(tmp_path, tree):
    def thinking(user, before):
        return Reply(f"<think>maybe [[B>>A]], or [[A>B]]</think>Final: [[{label_of(user)}]]")

    with FakeEndpoint(thinking) as server:
        thought = judged(tmp_path, tree, "arena_hard_v01", server)
    with FakeEndpoint(any_verdict) as server:
        plain = judged(tmp_path, tree, "arena_hard_v01", server, out="plain")
    assert thought.models[0].metrics == plain.models[0].metrics


def test_a_judge_of_ours_gives_one_probability_per_question(tmp_path, tree):
    judge = tmp_path / "judge.yaml"
    judge.write_text("judge: length\n")
    outputs = write_outputs(tmp_path / "candidate.jsonl", SUITES["arena_hard_v2"], word="a candidate with a long name")
    results = evaluate([str(outputs)], "arena_hard_v2", tmp_path / "out", data=str(tree), judge=str(judge))
    (model,) = results.models
    assert model.metrics["hard_prompt_score"]["value"] == model.metrics["creative_writing_score"]["value"]
    assert not list((tmp_path / "out").rglob("model_judgment"))
    assert any("in its own words" in note for note in results.notes)


def test_questions_without_a_baseline_answer_are_left_out_and_that_is_said(tmp_path, tree):
    (tree / "data" / "arena-hard-v2.0" / "model_answer" / f"{CREATIVE}.jsonl").unlink()
    with FakeEndpoint(any_verdict) as server:
        results = judged(tmp_path, tree, "arena_hard_v2", server)
        assert server.calls == 6
    assert "2 of 5 questions left out" in results.settings["data"]


def test_style_control_joins_in_from_enough_questions_on(tmp_path, monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)
    tree = write_tree(tmp_path / "big", hard=100, creative=2)
    monkeypatch.setitem(SUITES, "arena_hard_v2", [f"h{place}" for place in range(100)] + ["c0", "c1"])
    with FakeEndpoint(any_verdict) as server:
        results = judged(tmp_path, tree, "arena_hard_v2", server)
    metrics = results.models[0].metrics
    assert set(metrics) == {"hard_prompt_score", "hard_prompt_style_controlled", "creative_writing_score"}
    assert len(results.models[0].details["hard_prompt_style_slopes"]) == 4


def test_a_model_is_generated_from_and_judged_by_one_command(tmp_path, tree, tiny_model):
    out = tmp_path / "out"
    with FakeEndpoint(any_verdict) as server:
        command = ["eval", tiny_model, "--suite", "arena_hard_v2", "--data", str(tree), "--limit", "2"]
        command += ["--judge", f"endpoint:fake@{server.base_url}", "--max_new_tokens", "8", "--out", str(out)]
        assert main(command) == 0
        assert server.calls == 4
    assert "Only the first 2 of 750" in (out / "report.md").read_text()
