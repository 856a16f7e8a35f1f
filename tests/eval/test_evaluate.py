"""The whole line on scripted models: figures, resume, fingerprints, stages, errors."""

import json

import pytest
from scripted import number_in

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.eval import Results, evaluate
from alignkit.rewards import GradingPool


@pytest.fixture(autouse=True)
def fast(shared_pool, monkeypatch):
    """One grading pool for the file, and no pictures: test_report.py draws them."""
    monkeypatch.setattr("alignkit.eval.report.html.render_html", lambda results, view: "<p>")


def right(content, seed):
    return f"\\boxed{{{number_in(content)}}}"


def right_below(limit):
    return lambda content, seed: right(content, seed) if number_in(content) < limit else "\\boxed{-1}"


def run(bench, tmp_path, data, models=("good",), **options):
    return evaluate(list(models), "tiny_math", tmp_path / "out", data=data, num_resamples=500, **options)


def figures(results):
    values = results.to_dict()
    return {key: values[key] for key in ("models", "comparisons")}


def test_accuracy_counts_and_interval(bench, tmp_path, data):
    bench.answers["good"] = lambda content, seed: {
        1: "I do not know",
        2: "\\boxed{2} ...",
        3: "(" * 200,
        4: "\\boxed{5}",
    }.get(number_in(content), right(content, seed))
    model = run(bench, tmp_path, data)["good"]
    assert (model.n, model.n_completions, model.n_correct) == (20, 20, 17)
    assert model.accuracy == pytest.approx(0.85) and model.ci_low < 0.85 < model.ci_high
    assert (model.n_unparsable, model.n_too_complex, model.n_truncated, model.n_timeout) == (1, 1, 1, 0)


def test_hanging_answer_is_a_counted_time_out(bench, tmp_path, data, monkeypatch):
    monkeypatch.setattr("alignkit.eval.grading.GradingPool", GradingPool)
    bench.answers["good"] = lambda content, seed: (
        "\\boxed{9^{9^{9^{9}}}}" if number_in(content) == 7 else right(content, seed)
    )
    model = run(bench, tmp_path, data, deadline=1.0, num_workers=1)["good"]
    assert (model.n_timeout, model.n_correct) == (1, 19)
    assert "grading was stopped on 1 of 20" in (tmp_path / "out" / "report.md").read_text()


def test_comparison_is_paired(bench, tmp_path, data):
    bench.answers |= {"base": right_below(10), "new": lambda c, s: right(c, s) if number_in(c) >= 4 else "\\boxed{-1}"}
    results = run(bench, tmp_path, data, ["new"], compare="base")
    assert [model.name for model in results.models] == ["base", "new"]
    (comparison,) = results.comparisons
    assert (comparison.model, comparison.baseline) == ("new", "base")
    assert comparison.difference == pytest.approx(0.8 - 0.5)
    counts = (
        comparison.both_right,
        comparison.only_model_right,
        comparison.only_baseline_right,
        comparison.both_wrong,
    )
    assert counts == (6, 10, 4, 0)
    assert comparison.ci_low < 0.3 < comparison.ci_high


def test_model_compared_with_itself_differs_by_nothing(bench, tmp_path, data):
    bench.answers |= {"a": right_below(10), "b": right_below(10)}
    (comparison,) = run(bench, tmp_path, data, ["a", "b"], compare="a").comparisons
    assert (comparison.difference, comparison.ci_low, comparison.ci_high, comparison.mcnemar_p) == (0, 0, 0, 1)


def test_results_are_read_back_as_written(bench, tmp_path, data):
    bench.answers |= {"a": right, "b": right_below(3)}
    results = run(bench, tmp_path, data, ["a", "b"], compare="a")
    assert Results.read(tmp_path / "out") == results
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {"name", "accuracy", "ci_low", "ci_high", "n", "n_truncated", "n_unparsable", "n_timeout"} <= set(
        written["models"][0]
    )
    assert written["versions"]["math-verify"] and written["settings"]["protocol"] == "bare"


@pytest.mark.parametrize("die_after", [0, 1, 7, 19])
def test_interrupted_run_redoes_nothing_and_gives_the_same_figures(bench, tmp_path, data, die_after):
    bench.answers["good"] = right_below(13)
    whole = figures(evaluate(["good"], "tiny_math", tmp_path / "whole", data=data, num_resamples=500))
    asked = bench.asked["good"]
    everything = sorted(asked)
    asked.clear()
    bench.die_after["good"] = die_after
    with pytest.raises(KeyboardInterrupt):
        run(bench, tmp_path, data)
    assert len(asked) == die_after
    del bench.die_after["good"]
    assert figures(run(bench, tmp_path, data)) == whole
    assert sorted(asked) == everything
    log = next((tmp_path / "out" / "generations").iterdir())
    log.write_bytes(log.read_bytes()[:-9])  # killed in the middle of the last line
    assert figures(run(bench, tmp_path, data)) == whole
    assert len(asked) == len(everything) + 1


def test_finished_run_loads_no_model_and_grades_nothing(bench, tmp_path, data, monkeypatch):
    bench.answers["good"] = right
    first = figures(run(bench, tmp_path, data))
    bench.answers.clear()
    monkeypatch.setattr("alignkit.rewards.grading.Worker.grade", None)
    assert figures(run(bench, tmp_path, data)) == first


@pytest.mark.parametrize(
    "change",
    [{"max_new_tokens": 5}, {"temperature": 0.5}, {"protocol": "boxed-cot"}, {"dtype": "bfloat16"}],
    ids=lambda change: next(iter(change)),
)
def test_changed_settings_are_another_run_and_the_old_records_stay(bench, tmp_path, data, change):
    bench.answers["good"] = lambda content, seed: "\\boxed{1}"
    first = run(bench, tmp_path, data)["good"].fingerprint
    second = run(bench, tmp_path, data, **change)["good"].fingerprint
    assert first != second and len(bench.asked["good"]) == 40
    assert figures(run(bench, tmp_path, data))["models"][0]["fingerprint"] == first
    assert len(bench.asked["good"]) == 40
    assert {path.stem for path in (tmp_path / "out" / "generations").iterdir()} == {first, second}


def test_changed_weights_are_another_run(bench, tmp_path, data, monkeypatch):
    bench.answers["good"] = right
    first = run(bench, tmp_path, data)["good"].fingerprint
    monkeypatch.setattr("alignkit.eval.plan.fingerprint_source", lambda source: "other weights")
    assert run(bench, tmp_path, data)["good"].fingerprint != first


def test_raised_limit_and_more_samples_keep_what_is_there(bench, tmp_path, data):
    bench.answers["good"] = right
    run(bench, tmp_path, data, limit=5, temperature=1.0)
    assert len(bench.asked["good"]) == 5
    run(bench, tmp_path, data, temperature=1.0)
    assert len(bench.asked["good"]) == 20
    run(bench, tmp_path, data, temperature=1.0, n_samples=2)
    assert len(bench.asked["good"]) == 40
    assert len({seed for _, seed in bench.asked["good"]}) == 40


def test_changed_gold_is_graded_again_without_generating(bench, tmp_path, data):
    from scripted import write_items

    bench.answers["good"] = right
    assert run(bench, tmp_path, data)["good"].accuracy == 1
    path = write_items(tmp_path / "other.jsonl", 20)
    raw = [{"prompt": [{"role": "user", "content": f"what is {n}?"}], "answer": "0"} for n in range(20)]
    (tmp_path / "other.jsonl").write_text("\n".join(json.dumps(row) for row in raw))
    assert run(bench, tmp_path, path)["good"].accuracy == pytest.approx(1 / 20)
    assert len(bench.asked["good"]) == 20


def test_several_samples_give_pass_and_majority(bench, tmp_path, data):
    # One of the samples says it in another form, which the vote must count with the first.
    seeds: dict[str, list[int]] = {}

    def answer(content, seed):
        number = number_in(content)
        place = len(seeds.setdefault(content, []))
        seeds[content].append(seed)
        return [f"\\boxed{{{number}}}", f"\\boxed{{\\frac{{{2 * number}}}{{2}}}}", "\\boxed{-1}"][place]

    bench.answers["good"] = answer
    model = run(bench, tmp_path, data, temperature=1.0, n_samples=3)["good"]
    assert model.accuracy == pytest.approx(2 / 3) and model.n_completions == 60
    assert model.metrics["pass@1"]["value"] == pytest.approx(model.accuracy)
    assert model.metrics["pass@3"]["value"] == 1 and model.metrics["maj@3"]["value"] == 1


def test_greedy_with_several_samples_is_refused(bench, tmp_path, data):
    with pytest.raises(InputError, match=r"n_samples is 2.*temperature"):
        run(bench, tmp_path, data, n_samples=2)


def test_groups_get_their_own_figures(bench, tmp_path):
    rows = [{"problem": f"what is {n}?", "answer": str(n), "level": n % 2, "subject": "all"} for n in range(10)]
    path = tmp_path / "math.json"
    path.write_text(json.dumps(rows))
    bench.answers["good"] = lambda content, seed: right(content.split("\n")[0], seed) if "4?" not in content else "8"
    results = evaluate(["good"], "math500", tmp_path / "out", data=str(path), num_resamples=500)
    assert results["good"].groups["level"]["0"]["value"] == pytest.approx(0.8)
    assert results["good"].groups["level"]["1"]["value"] == 1
    assert "## By level" in (tmp_path / "out" / "report.md").read_text()


def test_stages_can_be_run_one_by_one(bench, tmp_path, data, capsys):
    bench.answers["good"] = right_below(5)
    out = str(tmp_path / "out")
    assert main(["eval", "grade", "--out", out]) == 2
    assert main(["eval", "generate", "good", "--suite", "tiny_math", "--data", data, "--out", out]) == 0
    assert main(["eval", "score", "--out", out]) == 2
    assert "have no grade" in capsys.readouterr().err
    assert main(["eval", "report", "--out", out]) == 2
    for stage in ("grade", "score", "report"):
        assert main(["eval", stage, "--out", out]) == 0
    assert Results.read(tmp_path / "out")["good"].accuracy == pytest.approx(0.25)
    assert len(bench.asked["good"]) == 20


def test_command_line_prints_figures_and_paths(bench, tmp_path, data, capsys):
    bench.answers |= {"base": right_below(5), "new": right_below(15)}
    out = tmp_path / "out"
    arguments = ["eval", "new", "--suite", "tiny_math", "--compare", "base", "--data", data, "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "75.0 %" in printed and "+50.0 points" in printed
    for name in ("results.json", "report.md", "report.html"):
        assert str(out / name) in printed and (out / name).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good", "--suite", "tiny_mat", "--out", "OUT"], "did you mean tiny_math?"),
        (["good", "--out", "OUT"], "--suite is missing: there are"),
        (["good", "--suite", "tiny_math"], "--out is missing"),
        (["grade", "good", "--out", "OUT"], "give --out only"),
        (["generate", "--suite", "tiny_math", "--out", "OUT"], "no model is given"),
        (["good", "--suite", "tiny_math", "--out", "OUT", "--limit", "0"], "limit is 0"),
        (["good", "--suite", "tiny_math", "--out", "OUT", "--chat_template_kwargs", "[1]"], "must be a JSON object"),
        (["good", "--suite", "tiny_math", "--out", "OUT", "--chat_template", "nope.jinja"], "does not exist"),
        (["good", "--suite", "tiny_math", "--out", "OUT", "--batch_size", "0"], "batch_size is 0"),
    ],
)
def test_bad_command_lines_end_in_one_sentence(bench, tmp_path, data, capsys, arguments, message):
    bench.answers["good"] = right
    arguments = [str(tmp_path / "out") if argument == "OUT" else argument for argument in arguments]
    arguments += [] if arguments[0] == "grade" else ["--data", data]
    assert main(["eval", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not bench.asked


def test_folder_of_another_suite_is_refused(bench, tmp_path, data):
    bench.answers["good"] = right
    run(bench, tmp_path, data)
    rows = tmp_path / "gsm.json"
    rows.write_text(json.dumps([{"question": "what is 1?", "answer": "#### 1"}]))
    with pytest.raises(InputError, match="suite tiny_math: give another --out"):
        evaluate(["good"], "gsm8k", tmp_path / "out", data=str(rows))


def test_models_with_the_same_folder_name_keep_apart(bench, tmp_path, data):
    bench.answers |= {"a/final": right, "b/final": right_below(2), "run/checkpoint-5": right}
    results = run(bench, tmp_path, data, ["a/final", "b/final", "run/checkpoint-5"])
    assert [model.label for model in results.models] == ["a/final", "b/final", "run/checkpoint-5"]


def test_suites_are_listed(capsys):
    assert main(["eval", "suites"]) == 0
    assert "tiny_math" in capsys.readouterr().out


def test_a_prompt_that_fills_the_context_is_counted_as_cut_off_and_ends_nothing(
    bench, tmp_path, data, monkeypatch, caplog
):
    bench.answers["good"] = right
    monkeypatch.setattr("scripted.ScriptedGenerator.max_positions", 100, raising=False)
    monkeypatch.setattr("scripted.ScriptedGenerator.tokenizer", None, raising=False)
    long = {3, 8}
    monkeypatch.setattr(
        "alignkit.eval.generating.encode_prompt",
        lambda tokenizer, prompt, kwargs: [0] * (100 if number_in(prompt[-1]["content"]) in long else 99),
    )
    model = run(bench, tmp_path, data)["good"]
    assert (model.n_correct, model.n_truncated, model.n_unparsable) == (18, 2, 2)
    assert "tiny_math: the prompts of 2 items fill the 100 tokens of good's context" in caplog.text
    assert len(bench.asked["good"]) == 18
    assert figures(run(bench, tmp_path, data))["models"][0]["n_truncated"] == 2 and len(bench.asked["good"]) == 18
