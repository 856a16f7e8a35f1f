"""The judge stage against a judge on this machine: exactly once, resumable, bounded, thrifty, discreet."""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter

import pytest
from fake_endpoint import FakeEndpoint, Reply
from judge_bench import KEY, Moody, records, weighted, write_judge, write_outputs, write_reference

from alignkit.cli import main
from alignkit.eval.judging.results import JudgedResults
from alignkit.eval.results import read_results


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No pictures (test_judged_report.py draws them), and a key that must not turn up anywhere."""
    monkeypatch.setattr("alignkit.eval.report.make_section", lambda plan, folder: (read_results(folder), None))
    monkeypatch.setattr("alignkit.eval.report.page.write_reports", lambda folder, sections: None)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.delenv("ALIGNKIT_EVAL_DATA", raising=False)


class Line:
    """One evaluation of a file of outputs on a small AlpacaEval 2."""

    def __init__(self, tmp_path, server, count=40, **judge):
        self.reference = write_reference(tmp_path / "reference.json", count)
        self.outputs = write_outputs(tmp_path / "candidate.json", self.reference)
        self.judge = write_judge(tmp_path / "judge.json", server.base_url, **judge)

    def arguments(self, out, *more):
        flags = ["--suite", "alpaca_eval2", "--data", self.reference, "--judge", self.judge, "--num_resamples", "200"]
        return ["eval", self.outputs, *flags, "--out", str(out), *more]


def figures(out) -> dict:
    values = read_results(out).to_dict()
    for model in values["models"]:
        del model["judging"]
    return {name: values[name] for name in ("models", "comparisons")}


def test_every_item_is_judged_once_whatever_the_judge_does(tmp_path, caplog):
    judge = Moody(hang=2.0)
    with FakeEndpoint(judge) as server:
        line = Line(tmp_path, server, 120, timeout=0.5)
        assert main([*line.arguments(tmp_path / "out"), "--concurrency", "32"]) == 0
        calls = server.calls
        assert set(judge.answered.values()) == {1} and len(judge.answered) == 120 and calls > 120
        before = figures(tmp_path / "out")
        assert main([*line.arguments(tmp_path / "out"), "--concurrency", "32"]) == 0
        assert server.calls == calls, "a finished run asks nothing"
        assert figures(tmp_path / "out") == before
        assert server.authorizations == {f"Bearer {KEY}"}
    results = JudgedResults.from_dict(*as_values(tmp_path / "out"))
    model = results.models[0]
    kinds = Counter((record["kind"], record["error"]) for record in records(tmp_path / "out"))
    assert (
        kinds["weighted", None]
        and kinds["discrete", None]
        and model.n_null == kinds["weighted", "letters not among the listed tokens"] > 0
    )
    assert model.counts["n_total"] == 120 - model.n_null
    assert any("without log-probabilities" in note for note in model.notes)
    assert any(f"no verdict on {model.n_null} of 120" in note for note in model.notes)
    assert model.judging["cost"] == pytest.approx(120 * (900 * 10 + 30) / 1e6) and model.judging["unpriced"] == 0
    assert_key_is_nowhere(tmp_path, caplog.text)


def as_values(out):
    values = json.loads((out / "results.json").read_text())
    assert values.pop("schema") == 1 and values.pop("kind") == "judged"
    return values, str(out)


def assert_key_is_nowhere(folder, log):
    assert KEY not in log
    for path in folder.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_sixty_four_requests_are_held_at_once(tmp_path):
    def slow(user, before):
        reply = weighted(user)
        reply.delay = 0.4
        return reply

    with FakeEndpoint(slow) as server:
        line = Line(tmp_path, server, 130)
        started = time.monotonic()
        assert main([*line.arguments(tmp_path / "out"), "--concurrency", "64"]) == 0
        assert server.most_in_flight == 64
        assert time.monotonic() - started < 0.4 * 130 / 8


def test_wrong_key_ends_in_one_sentence_without_it(tmp_path, capsys):
    with FakeEndpoint(lambda user, before: Reply(status=401, body=f"bad key {KEY}")) as server:
        line = Line(tmp_path, server, 6)
        assert main(line.arguments(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "refuses the key" in error and KEY not in error and "Traceback" not in error


def test_missing_key_is_refused_before_anything_is_generated(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("JUDGE_KEY")
    with FakeEndpoint(weighted) as server:
        assert main(Line(tmp_path, server, 6).arguments(tmp_path / "out")) == 2
    assert "JUDGE_KEY" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_judge_that_never_answers_is_given_up(tmp_path, capsys):
    with FakeEndpoint(lambda user, before: Reply(status=400, body="logprobs are not supported")) as server:
        line = Line(tmp_path, server, 60)
        assert main(line.arguments(tmp_path / "out")) == 2
        assert server.calls < 60
    assert "logprobs are not supported" in capsys.readouterr().err


def test_items_without_a_reply_are_asked_again_or_left_out_on_request(tmp_path, capsys):
    broken = {"on": True}

    def sometimes(user, before):
        return Reply(status=400, body="refused") if broken["on"] and "number 7:" in user else weighted(user)

    with FakeEndpoint(sometimes) as server:
        line = Line(tmp_path, server, 12)
        assert main(line.arguments(tmp_path / "out")) == 2
        assert "1 games got no reply" in capsys.readouterr().err
        assert main(["eval", "score", "--out", str(tmp_path / "out")]) == 2
        assert main([*line.arguments(tmp_path / "partial"), "--allow_missing"]) == 0
        model = read_results(tmp_path / "partial").models[0]
        assert (model.n_missing, model.counts["n_total"]) == (1, 11)
        broken["on"] = False
        calls = server.calls
        assert main(line.arguments(tmp_path / "out")) == 0
        assert server.calls == calls + 1


@pytest.mark.parametrize(("limit", "message"), [(0.01, "above max_cost 0.01"), (0.0, "above max_cost 0")])
def test_what_is_expected_to_cost_too_much_is_refused_before_the_first_call(tmp_path, capsys, limit, message):
    with FakeEndpoint(weighted) as server:
        line = Line(tmp_path, server, 40)
        assert main([*line.arguments(tmp_path / "out"), "--max-cost", str(limit)]) == 2
        assert server.calls == 0
    assert message in capsys.readouterr().err


def test_judging_stops_at_the_cost_limit_and_goes_on_when_it_is_raised(tmp_path, capsys):
    def dear(user, before):
        reply = weighted(user)
        reply.tokens = (50_000, 1)
        return reply

    with FakeEndpoint(dear) as server:
        line = Line(tmp_path, server, 20)
        assert main([*line.arguments(tmp_path / "out"), "--max-cost", "3", "--concurrency", "1"]) == 2
        assert "stopped at max_cost 3" in capsys.readouterr().err
        assert 3 <= server.calls <= 7 and len(records(tmp_path / "out")) == server.calls
        assert main(["eval", "judge", "--out", str(tmp_path / "out"), "--max-cost", "100"]) == 0
        assert server.calls == 20 == len(records(tmp_path / "out"))


def test_unknown_price_is_said_and_refused_under_a_limit(tmp_path, capsys):
    with FakeEndpoint(weighted) as server:
        line = Line(tmp_path, server, 6, prices={})
        assert main([*line.arguments(tmp_path / "out"), "--max-cost", "1"]) == 2
        assert "price of gpt-4-1106-preview is not known" in capsys.readouterr().err
        assert main(line.arguments(tmp_path / "out")) == 0
    assert read_results(tmp_path / "out").models[0].judging["unpriced"] == 6


def test_changed_judge_or_answer_is_judged_anew_and_old_records_stay(tmp_path):
    with FakeEndpoint(weighted) as server:
        line = Line(tmp_path, server, 8)
        assert main(line.arguments(tmp_path / "out")) == 0
        rows = json.loads(open(line.outputs).read())
        rows[3]["output"] = "another answer"
        open(line.outputs, "w").write(json.dumps(rows))
        assert main(line.arguments(tmp_path / "out")) == 0
        assert server.calls == 16, "another file of outputs is another run"
        line.judge = write_judge(tmp_path / "judge.json", server.base_url, model="other", prices={})
        assert main(line.arguments(tmp_path / "out")) == 0
        assert server.calls == 24 == len(records(tmp_path / "out"))
    assert any("officially gpt-4-1106-preview" in note for note in read_results(tmp_path / "out").notes)


def test_identical_answers_are_a_draw_without_a_call(tmp_path):
    with FakeEndpoint(weighted) as server:
        line = Line(tmp_path, server, 8)
        line.outputs = line.reference
        assert main(line.arguments(tmp_path / "out")) == 0
        assert server.calls == 0
    metrics = read_results(tmp_path / "out").models[0].metrics
    assert metrics["win_rate"]["value"] == metrics["length_controlled_winrate"]["value"] == 50


def start(arguments):
    process = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
    process.start()
    return process


def written(out) -> bytes:
    """The complete records so far, as they are on disk."""
    raw = b"".join(path.read_bytes() for path in out.glob("judgments/*.jsonl"))
    return raw[: raw.rfind(b"\n") + 1]


def interrupt_ten_times(line, out, number, seed):
    """Start the run, send it a signal at a random moment, ten times; then let it finish."""
    rng = random.Random(seed)
    cut = 0
    while cut < 10:
        size = written(out).count(b"\n")
        process = start([*line.arguments(out), "--concurrency", "8"])
        # In the middle of the judging: after some more records, at any moment between two of them.
        goal, deadline = size + rng.randint(1, 6), time.monotonic() + 60
        while process.is_alive() and written(out).count(b"\n") < goal and time.monotonic() < deadline:
            time.sleep(0.003)
        time.sleep(rng.uniform(0, 0.01))
        assert process.is_alive(), "the run ended before it was interrupted ten times"
        os.kill(process.pid, number)
        process.join()
        cut += 1
    assert main(line.arguments(out)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process")
def test_killed_ten_times_asks_for_no_recorded_reply_again_and_gives_the_same_figures(tmp_path):
    judge = Moody(slow=0.04)
    repeated = []

    def watched(user, before):
        number = user.split("instruction number ")[1].split(":")[0]
        if f'"item_id": "{number}"'.encode() in written(tmp_path / "killed"):
            repeated.append(number)
        return judge(user, before)

    with FakeEndpoint(watched) as server:
        line = Line(tmp_path, server, 240)
        assert main(line.arguments(tmp_path / "whole")) == 0  # and what it imports, no fork imports again
        judge.answered.clear()
        interrupt_ten_times(line, tmp_path / "killed", signal.SIGKILL, seed=1)
        assert repeated == []
        items = Counter(record["item_id"] for record in records(tmp_path / "killed"))
        assert set(items.values()) == {1} and len(items) == 240
        # Only what was in flight at a kill can have been answered twice: 8 at each of ten.
        assert sum(judge.answered.values()) - 240 <= 80
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process")
def test_terminated_ten_times_every_item_is_answered_exactly_once(tmp_path):
    judge = Moody(slow=0.04)
    with FakeEndpoint(judge) as server:
        line = Line(tmp_path, server, 240)
        interrupt_ten_times(line, tmp_path / "out", signal.SIGTERM, seed=2)
    assert set(judge.answered.values()) == {1} and len(judge.answered) == 240
    assert len(records(tmp_path / "out")) == 240
