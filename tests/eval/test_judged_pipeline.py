"""Judged suites from the command line: every kind of model, stages alone, official files, local judges, the report."""

import json
import multiprocessing
import os
import re
import socket
import sys
from functools import partial

import pytest
from fake_endpoint import FakeEndpoint, Reply
from judge_bench import KEY, as_openai, records, weighted, write_judge, write_outputs, write_reference
from test_report import Page

from alignkit.cli import main
from alignkit.eval.results import read_results


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)


@pytest.fixture
def files(tmp_path):
    """A baseline file and two models' outputs."""
    reference = write_reference(tmp_path / "reference.json", 24)
    return reference, *(write_outputs(tmp_path / f"{name}.json", reference, name) for name in ("first", "second"))


def flags(reference, judge, out, *more):
    return [
        "--suite",
        "alpaca_eval2",
        "--data",
        reference,
        "--judge",
        judge,
        "--out",
        str(out),
        "--num_resamples",
        "200",
        *more,
    ]


def test_two_models_are_compared_and_the_report_shows_everything(files, tmp_path):
    reference, first, second = files

    def judge(user, before):
        if "number 5:" in user:
            return Reply("<b>I cannot</b> choose", logprobs={"I": -0.1}, tokens=(900, 3))
        return weighted(user)

    with FakeEndpoint(judge) as server:
        spec = write_judge(tmp_path / "judge.json", server.base_url)
        arguments = ["eval", second, "--compare", first, *flags(reference, spec, tmp_path / "out")]
        assert main(arguments) == 0
    results = read_results(tmp_path / "out")
    assert [model.label for model in results.models] == ["first", "second"]
    (comparison,) = results.comparisons
    values = [model.metrics["win_rate"]["value"] for model in results.models]
    assert comparison.difference == pytest.approx(values[1] - values[0]) and comparison.n == 23
    assert comparison.ci_low < comparison.difference < comparison.ci_high
    assert set(results.models[0].groups["dataset"]) == {"even", "odd"}
    html = (tmp_path / "out" / "report.html").read_text()
    page = Page(html)
    assert page.open == [] and {"script", "link", "iframe", "img"}.isdisjoint(page.tags)
    assert page.tags.count("svg") == 4 and not re.search(r"url\((?!#)", html)
    for text in ("gpt-4-1106-preview", "Paired differences", "official leaderboard", "Replies without a verdict"):
        assert text in html, text
    assert "&lt;b&gt;I cannot&lt;/b&gt;" in html and "<b>I cannot" not in html
    assert "length_controlled_minimal" in html and "baseline shown first" in html
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert f"judge and prompt {results.judge['fingerprint']}" in html and results.judge["fingerprint"] in markdown
    assert "no verdict on 1 of 24" in markdown
    assert KEY not in html + markdown


def test_stages_run_alone_and_the_judge_may_come_later(files, tmp_path, capsys):
    reference, first, _ = files
    out = str(tmp_path / "out")
    assert main(["eval", first, "--suite", "alpaca_eval2", "--data", reference, "--out", out]) == 2
    assert "needs a judge" in capsys.readouterr().err
    assert main(["eval", "generate", first, "--suite", "alpaca_eval2", "--data", reference, "--out", out]) == 0
    assert main(["eval", "judge", "--out", out]) == 2
    assert main(["eval", "grade", "--out", out]) == 2
    assert "there is no stage grade here" in capsys.readouterr().err
    with FakeEndpoint(weighted) as server:
        spec = write_judge(tmp_path / "judge.json", server.base_url)
        for stage in (["judge", "--judge", spec], ["score"], ["report"]):
            assert main(["eval", stage[0], "--out", out, *stage[1:]]) == 0
        assert server.calls == 24
    assert read_results(tmp_path / "out").models[0].counts["n_total"] == 24


def test_official_files_are_written_and_scored_to_the_same_figures(files, tmp_path):
    reference, first, _ = files
    with FakeEndpoint(weighted) as server:
        spec = write_judge(tmp_path / "judge.json", server.base_url)
        assert main(["eval", first, *flags(reference, spec, tmp_path / "out")]) == 0
    model = read_results(tmp_path / "out").models[0]
    (folder,) = (tmp_path / "out" / "official").iterdir()
    outputs = json.loads((folder / "model_outputs.json").read_text())
    assert outputs == [
        {name: row[name] for name in ("instruction", "output", "generator", "dataset")}
        for row in json.loads((tmp_path / "first.json").read_text())
    ]
    annotations = ["--annotations", str(folder / "annotations.json"), "--baseline", reference]
    assert main(["eval", "score", "alpaca_eval2", *annotations, "--out", str(tmp_path / "scores")]) == 0
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    for name in ("win_rate", "length_controlled_winrate", "discrete_win_rate"):
        assert scores[name] == pytest.approx(model.metrics[name]["value"], abs=1e-9)
    assert scores["model"] == "first" and scores["n_wins"] == model.counts["n_wins"]


def test_an_endpoint_answers_and_is_judged(files, tmp_path):
    reference, *_ = files

    def both(user, before):
        if user.startswith("instruction number"):
            text = f"answer to {user[-40:]}"
            return Reply(text, finish_reason="length" if "number 3:" in user else "stop", tokens=(12, 34))
        return weighted(user)

    with FakeEndpoint(both) as server:
        spec = write_judge(tmp_path / "judge.json", server.base_url)
        model = f"endpoint:some-model@{server.base_url}"
        arguments = ["eval", model, *flags(reference, spec, tmp_path / "out", "--temperature", "0.3")]
        assert main(arguments) == 0
        bodies = [own for own in server.bodies if own["model"] == "some-model"]
        assert len(bodies) == 24 and all(own["temperature"] == 0.3 and own["max_tokens"] == 2048 for own in bodies)
        calls = server.calls
        assert main(arguments) == 0
        assert server.calls == calls
    model = read_results(tmp_path / "out").models[0]
    assert (model.label, model.n_truncated, model.mean_tokens) == ("some-model", 1, 34)


def test_a_judge_of_ours_judges_in_its_own_words_and_the_report_says_so(files, tmp_path):
    reference, first, _ = files
    spec = tmp_path / "judge.yaml"
    spec.write_text("judge: length  # the shorter wins\n")
    assert main(["eval", first, *flags(reference, str(spec), tmp_path / "out")]) == 0
    results = read_results(tmp_path / "out")
    assert any("in its own words" in note for note in results.notes)
    rows = zip(*(json.loads(open(path).read()) for path in (reference, first)), strict=True)
    wins = sum(len(own["output"]) < len(base["output"]) for base, own in rows)
    assert 0 < wins < 24 and results.models[0].counts["n_wins"] == wins
    assert len(records(tmp_path / "out")) == 24
    assert main(["eval", first, *flags(reference, str(spec), tmp_path / "out")]) == 0
    assert len(records(tmp_path / "out")) == 24


def test_outputs_that_lack_an_instruction_are_refused_with_the_first(files, tmp_path, capsys):
    reference, first, _ = files
    rows = json.loads(open(first).read())
    rows[7]["instruction"] += " "
    open(first, "w").write(json.dumps(rows))
    spec = tmp_path / "judge.yaml"
    spec.write_text("judge: length\n")
    assert main(["eval", first, *flags(reference, str(spec), tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "no output for 1 of 24 items" in error and "instruction number 7" in error


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("endpoint:@http://localhost:1/v1", "names no model"),
        ("nothing.yaml", "cannot be read"),
        ({"judge": "llm", "modle": "x"}, "has no setting 'modle'"),
        ({"judge": "llm", "template": "x {prompt}"}, "the benchmark's own prompts are used"),
    ],
)
def test_bad_judges_are_refused_before_anything_is_written(files, tmp_path, capsys, judge, message):
    reference, first, _ = files
    if isinstance(judge, dict):
        (tmp_path / "judge.json").write_text(json.dumps(judge))
        judge = str(tmp_path / "judge.json")
    assert main(["eval", first, *flags(reference, judge, tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and not (tmp_path / "out").exists()


def test_several_suites_share_one_report(bench, shared_pool, data, tmp_path, monkeypatch):
    reference = write_reference(tmp_path / "reference.json", 6)
    monkeypatch.setattr(
        "alignkit.eval.alpaca_eval2.benchmark.load_rows",
        lambda suite, path: (json.loads(open(reference).read()), reference),
    )
    bench.answers["good"] = lambda content, seed: f"\\boxed{{{content.split()[-1].rstrip('?')}}}"
    (tmp_path / "judge.yaml").write_text("judge: length\n")
    arguments = ["eval", "good", "--suite", "tiny_math,alpaca_eval2", "--limit", "5", "--data", data]
    arguments += ["--judge", str(tmp_path / "judge.yaml"), "--num_resamples", "200", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.open == [] and page.tags.count("h1") == 3
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)), "pictures of several suites keep their ids apart"
    markdown = (tmp_path / "out" / "report.md").read_text()
    assert "# AlpacaEval 2" in markdown and "# Tiny math" in markdown and "| good | 100.0 %" in markdown
    assert read_results(tmp_path / "out" / "tiny_math").models[0].accuracy == 1
    assert main(["eval", "report", "--out", str(tmp_path / "out")]) == 0


def generate_as(rank, port, arguments):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sys.exit(main(arguments))


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process")
def test_two_processes_share_the_generation(bench, tmp_path, data):
    bench.answers["good"] = lambda content, seed: f"\\boxed{{{content.split()[-1].rstrip('?')}}}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "out"
    arguments = ["eval", "generate", "good", "--suite", "tiny_math", "--data", data, "--out", str(out)]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=generate_as, args=(rank, port, arguments)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    shares = [[json.loads(line)["item_id"] for line in file.open()] for file in (out / "generations").iterdir()]
    assert sorted(map(len, shares)) == [10, 10] and len({item for share in shares for item in share}) == 20


@pytest.mark.slow
def test_both_engines_agree(files, tmp_path, monkeypatch):
    """The package, in a process of its own, and ours judge the same answers with the same judge: the same preferences,
    the same win rates, and length-controlled ones within the solver's tolerance."""
    reference, first, _ = files
    rows = [
        f"m,{place},{0.1 + 0.8 * (place % 7) / 7},{(place % 11 - 5) / 3},{(place % 5 - 2) / 4},False"
        for place in [*range(24), *range(24)]
    ]
    header = "model,index,preference,std_delta_len,instruction_difficulty,not_gamed_baseline"
    (tmp_path / "df_gamed.csv").write_text("\n".join([header, *rows]) + "\n")
    with FakeEndpoint(partial(as_openai, favourite="first answer")) as server:
        spec = write_judge(tmp_path / "judge.json", server.base_url)
        gamed = ["--gamed", str(tmp_path / "df_gamed.csv")]
        assert main(["eval", first, *flags(reference, spec, tmp_path / "ours", *gamed)]) == 0
        assert server.calls == 24
        official = ["--engine", "official", *gamed]
        assert main(["eval", first, *flags(reference, spec, tmp_path / "theirs", *official)]) == 0
        assert server.calls == 48
        assert server.authorizations == {f"Bearer {KEY}"}
    ours, theirs = ({own["item_id"]: own["score"] for own in records(tmp_path / name)} for name in ("ours", "theirs"))
    assert ours == pytest.approx(theirs, abs=1e-9)
    figures = read_results(tmp_path / "ours").models[0].metrics
    package = read_results(tmp_path / "theirs").models[0].details["official_engine"]
    for name in ("win_rate", "discrete_win_rate"):
        assert package[name] == pytest.approx(figures[name]["value"], abs=1e-6)
    assert package["standard_error"] == pytest.approx(figures["win_rate"]["standard_error"], abs=1e-6)
    assert package["length_controlled_winrate"] == pytest.approx(
        figures["length_controlled_winrate"]["value"], abs=0.05
    )
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
