"""The suite from question to report, against a judge on this machine."""

import json
import multiprocessing
import os
import random
import re
import signal
import time

import pytest
from fake_endpoint import FakeEndpoint, Reply
from mt_world import CATEGORIES, any_rating, lines, questions, rating_of, write_answers, write_tree
from scripted import ScriptedGenerator
from test_report import Page

from alignkit.cli import main
from alignkit.eval import evaluate
from alignkit.eval.mt_bench.stored import score_judgments
from alignkit.eval.results import read_results


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)


@pytest.fixture
def quick(monkeypatch):
    """No pictures."""
    monkeypatch.setattr("alignkit.eval.report.make_section", lambda plan, folder: (read_results(folder), None))
    monkeypatch.setattr("alignkit.eval.report.page.write_reports", lambda folder, sections: None)


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "FastChat")


@pytest.fixture
def outputs(tmp_path):
    return str(write_answers(tmp_path / "candidate.jsonl"))


def judged(models, tree, server, out, **options):
    judge = f"endpoint:fake@{server.base_url}"
    return evaluate(models, "mt_bench", out, data=str(tree), judge=judge, num_resamples=200, **options)


def expected_prompts(first, second) -> set[str]:
    """What the judge is shown about five questions; `first(number)`, `second(number)` are the model's answers."""
    shown = set()
    for number, category in CATEGORIES.items():
        q1, q2 = f"{category} first with {{braces}}", f"{category} second"
        a1, a2 = first(number), second(number)
        if category == "math":
            shown.add(f"Q: {q1} | R: official 1 | A: {a1}")
            shown.add(f"Q1: {q1} | R1: official 1 | Q2: {q2} | R2: 2000 | A1: {a1} | A2: {a2}")
        else:
            shown |= {f"Q: {q1} | A: {a1}", f"Q1: {q1} | A1: {a1} | Q2: {q2} | A2: {a2}"}
    return shown


def test_every_answer_is_rated_once_with_the_prompt_of_its_turn_and_category(tmp_path, tree, outputs, quick):
    with FakeEndpoint(any_rating) as server:
        (model,) = judged([outputs], tree, server, tmp_path / "out").models
        again = judged([outputs], tree, server, tmp_path / "out").models[0]
    expected = expected_prompts(lambda n: f"candidate one on {n}", lambda n: f"candidate two on {n}")
    assert set(server.asked) == expected and set(server.asked.values()) == {1}
    ratings = {prompt: rating_of(prompt) for prompt in expected}
    second = [value for prompt, value in ratings.items() if prompt.startswith("Q1")]
    assert model.metrics["score"]["value"] == pytest.approx(sum(ratings.values()) / 10)
    assert model.metrics["second_turn"]["value"] == pytest.approx(sum(second) / 5)
    assert model.groups["category"]["math"]["n"] == 2
    assert again.metrics == model.metrics and model.notes == []
    systems = {body["messages"][0]["content"] for body in server.bodies}
    assert systems == {"plain", "plain 2", "maths", "maths 2"}
    body = server.bodies[0]
    assert (body["temperature"], body["max_tokens"]) == (0.0, 2048)


def test_the_second_turn_sees_the_models_own_first_answer_at_the_categorys_temperature(
    tmp_path, tree, bench, monkeypatch, quick
):
    asked = {}

    class Noting(ScriptedGenerator):
        def generate(self, prompts, sampling, seeds):
            for prompt in prompts:
                asked[prompt[-1]["content"]] = (sampling.temperature, sampling.max_new_tokens, prompt)
            yield from super().generate(prompts, sampling, seeds)

    loads = []
    answers = lambda content, seed: f" on {content} "  # noqa: E731
    monkeypatch.setattr(
        "alignkit.eval.generating.load_generator", lambda *args: loads.append(args) or Noting(answers, [])
    )
    with FakeEndpoint(any_rating) as server:
        judged(["model"], tree, server, tmp_path / "out")
    assert len(loads) == 1, "loaded once for both turns"
    temperatures = {"writing": 0.7, "roleplay": 0.7, "math": 0.0, "stem": 0.1, "extraction": 0.0}
    for category, temperature in temperatures.items():
        for turn in ("first with {braces}", "second"):
            assert asked[f"{category} {turn}"][:2] == (temperature, 1024)
        assert asked[f"{category} second"][2] == [
            {"role": "user", "content": f"{category} first with {{braces}}"},
            {"role": "assistant", "content": f"on {category} first with {{braces}}"},
            {"role": "user", "content": f"{category} second"},
        ]
    first = {number: f"on {category} first with {{braces}}" for number, category in CATEGORIES.items()}
    second = {number: f"on {category} second" for number, category in CATEGORIES.items()}
    assert set(server.asked) == expected_prompts(first.__getitem__, second.__getitem__)
    asked.clear()
    with FakeEndpoint(any_rating) as server:
        judged(["model"], tree, server, tmp_path / "greedy", temperature=0.0)
    assert {own[0] for own in asked.values()} == {0.0}


def test_a_killed_run_goes_on_and_ends_with_the_same_answers_and_ratings(tmp_path, tree, bench, monkeypatch, quick):
    """kill -9 at random moments of both turns and of the judging."""
    rows = [{**row, "question_id": number, "turns": [f"{number} a", f"{number} b"]} for number in range(200, 240)
            for row in questions()[:1]]  # fmt: skip
    lines(tree / "fastchat/llm_judge/data/mt_bench/question.jsonl", rows)

    class Slow(ScriptedGenerator):
        def generate(self, prompts, sampling, seeds):
            for own in super().generate(prompts, sampling, seeds):
                time.sleep(0.004)
                yield own

    monkeypatch.setattr(
        "alignkit.eval.generating.load_generator", lambda *args: Slow(lambda content, seed: f"{content} {seed}", [])
    )

    def slow_judge(user, before):
        reply = any_rating(user)
        reply.delay = 0.02
        return reply

    def run(out):
        judged(["model"], tree, server, out, concurrency=4)

    def state(out):
        read = [json.loads(line) for path in sorted(out.glob("generations/*.jsonl")) for line in path.open("rb")]
        return sorted((own["item_id"], own["text"]) for own in read), read_results(out).models[0].metrics

    rng, kills = random.Random(0), 0
    with FakeEndpoint(slow_judge) as server:
        run(tmp_path / "whole")
        server.asked.clear()
        fork = multiprocessing.get_context("fork")
        while True:
            process = fork.Process(target=run, args=(tmp_path / "killed",))
            process.start()
            process.join(rng.uniform(0.1, 0.25) if kills < 5 else None)
            if process.exitcode is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        assert process.exitcode == 0 and kills >= 3
        assert len(server.asked) == 80
        assert server.calls - 80 <= 4 * kills, "only what was in flight is asked again"
    assert state(tmp_path / "killed") == state(tmp_path / "whole")
    assert len(state(tmp_path / "whole")[0]) == 80


def test_the_written_official_files_give_the_same_score_again(tmp_path, tree, outputs, quick):
    def sometimes(user, before):
        return Reply("no idea") if "extraction second" in user else any_rating(user)

    with FakeEndpoint(sometimes) as server:
        (model,) = judged([outputs], tree, server, tmp_path / "out").models
        (answers,) = (tmp_path / "out" / "official").rglob("model_answer/candidate.jsonl")
        (stored,) = (tmp_path / "out" / "official").rglob("model_judgment/fake_single.jsonl")
        own = score_judgments([stored], num_resamples=200)["candidate"]
        calls = server.calls
        (again,) = judged([str(answers)], tree, server, tmp_path / "again").models
    assert own["score"] == pytest.approx(model.metrics["score"]["value"]) == again.metrics["score"]["value"]
    assert (own["ci_low"], own["ci_high"]) == (model.metrics["score"]["ci_low"], model.metrics["score"]["ci_high"])
    assert own["n_unread"] == model.n_null == 1 and calls == 10
    written = [json.loads(line) for line in stored.read_text().splitlines()]
    assert {row["score"] for row in written if row["question_id"] == 131 and row["turn"] == 2} == {-1}
    assert all(isinstance(row["score"], int) for row in written)
    prompts = {(row["question_id"], row["turn"]): row["judge"] for row in written}
    assert prompts[111, 1] == ["fake", "single-math-v1"] and prompts[81, 2] == ["fake", "single-v1-multi-turn"]


@pytest.mark.parametrize("own", [True, False])
def test_missing_reference_answers_are_replaced_and_named(own, tmp_path, outputs, quick):
    tree = write_tree(tmp_path / "FastChat", references=False)
    if not own:
        rows = [{name: value for name, value in row.items() if name != "reference"} for row in questions()]
        lines(tree / "fastchat/llm_judge/data/mt_bench/question.jsonl", rows)
    with FakeEndpoint(any_rating) as server:
        (model,) = judged([outputs], tree, server, tmp_path / "out").models
    shown = [prompt for prompt in server.asked if "math first" in prompt]
    assert all(("R: short 1" in prompt or "R2: short 2" in prompt) == own for prompt in shown)
    (note,) = model.notes
    assert ("short reference answers" if own else "without a reference answer") in note and note.startswith(
        "1 question"
    )


def test_what_does_not_fit_is_refused_before_anything_is_done(tmp_path, tree, outputs, capsys):
    flags = ["--suite", "mt_bench", "--data", str(tree), "--out", str(tmp_path / "out")]
    judge = tmp_path / "judge.yaml"
    judge.write_text("judge: length\n")
    for more, message in (
        (["--judge", str(judge)], "rated by itself"),
        (["--judge", "endpoint:x@http://localhost:1/v1", "--n_samples", "2"], "one answer per turn"),
    ):
        assert main(["eval", outputs, *flags, *more]) == 2
        assert message in capsys.readouterr().err
    short = lines(tmp_path / "short.jsonl", [{"question_id": 81, "choices": [{"turns": ["only one"]}]}])
    assert main(["eval", str(short), *flags, "--judge", "endpoint:x@http://localhost:1/v1"]) == 2
    assert "1 answers to question 81; it has 2 turns" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_endpoint_answers_both_turns_and_its_price_is_said_for_both(tmp_path, tree, caplog, quick):
    def both(user, before):
        return any_rating(user) if " | " in user else Reply(f"said {user}")

    with FakeEndpoint(both) as server:
        model = f"endpoint:talker@{server.base_url}"
        (result,) = judged([model], tree, server, tmp_path / "out").models
    assert "answers of talker: 10 calls" in caplog.text
    assert result.generating["calls"] == 10 and result.n == 10
    talks = [body for body in server.bodies if body["model"] == "talker"]
    asked = {body["messages"][-1]["content"]: body for body in talks}
    assert asked["stem second"]["temperature"] == 0.1 and asked["math second"]["temperature"] == 0.0
    assert [message["role"] for message in asked["stem second"]["messages"]] == ["user", "assistant", "user"]


def test_the_bundled_model_is_evaluated_and_the_report_shows_it(tmp_path, tree, outputs, capsys):
    with FakeEndpoint(any_rating) as server:
        arguments = ["eval", "bundled/tiny-math", "--compare", outputs, "--suite", "mt_bench", "--data", str(tree)]
        arguments += ["--judge", f"endpoint:fake@{server.base_url}", "--limit", "3", "--max_new_tokens", "8"]
        assert main([*arguments, "--num_resamples", "200", "--out", str(tmp_path / "out")]) == 0
    assert "second" in capsys.readouterr().out
    results = read_results(tmp_path / "out")
    assert results.measure.name == "rating" and [model.n for model in results.models] == [6, 6]
    assert results.comparisons[0].n == 6
    html = (tmp_path / "out" / "report.html").read_text()
    page = Page(html)
    assert page.open == [] and page.tags.count("svg") == 3
    for text in ("Only the first 3 of 80", "By category", "its answer before", "rated ", "rating, of 10"):
        assert text in html, text
    assert not re.search(
        r"win rate|baseline\b|\d %", re.sub(r"(?s)<h2>Settings.*|\d+ % (bootstrap|interval)", "", html)
    )
    assert "| math |" in (tmp_path / "out" / "report.md").read_text()
