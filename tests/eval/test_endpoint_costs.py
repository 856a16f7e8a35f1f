"""What an endpoint's answers cost: estimated before the first call, recorded, and stopped at the limit."""

import json
import os
import signal
import threading
import time

import pytest
import yaml
from fake_endpoint import FakeEndpoint, Reply
from scripted import write_items

from alignkit.cli import main
from alignkit.eval.costs import money_spent
from alignkit.eval.results import read_results


def answer(user, before):
    return Reply("\\boxed{" + user.split("what is ")[1].split("?")[0] + "}", tokens=(1000, 100))


def arguments(tmp_path, server, count, prices=(1000.0, 1000.0), **fields):
    """The command line of an evaluation of a paid endpoint: one answer costs 1.1 with 1000 per million tokens."""
    model = tmp_path / "paid.yaml"
    prompt, completion = prices or (0, 0)
    table = {"prices": {"paid": {"prompt": prompt, "completion": completion}}} if prices else {}
    fields = {"model": "paid", "base_url": server.base_url, "api_key_env": None, **table, **fields}
    model.write_text(yaml.safe_dump(fields))
    data = write_items(tmp_path / "items.jsonl.gz", count)
    return [
        "eval",
        str(model),
        "--suite",
        "tiny_math",
        "--data",
        data,
        "--num_workers",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]


def answers(tmp_path):
    (path,) = (tmp_path / "out" / "generations").glob("*.jsonl")
    return [json.loads(line) for line in path.open()]


@pytest.fixture(autouse=True)
def _graded_in_one_pool(shared_pool):
    return shared_pool


def test_answers_are_priced_and_the_report_says_so(tmp_path, caplog):
    with FakeEndpoint(answer) as server:
        assert main([*arguments(tmp_path, server, 5), "--max-cost", "100"]) == 0
    assert "tiny_math: answers of paid: 5 calls" in caplog.text
    assert [own["cost"] for own in answers(tmp_path)] == pytest.approx([1.1] * 5)
    model = read_results(tmp_path / "out").models[0]
    assert model.accuracy == 1 and model.generating["cost"] == pytest.approx(5.5)
    assert money_spent(tmp_path / "out") == pytest.approx(5.5)
    for name in ("report.md", "report.html"):
        assert "its answers cost 5.50 (5 calls)" in (tmp_path / "out" / name).read_text()


def test_what_is_expected_to_cost_too_much_is_not_asked(tmp_path, capsys):
    with FakeEndpoint(answer) as server:
        assert main([*arguments(tmp_path, server, 5), "--max-cost", "0.4"]) == 2
        assert server.calls == 0
    assert "answering is expected to cost" in capsys.readouterr().err


def test_answering_stops_at_the_limit_and_goes_on_when_it_is_raised(tmp_path, capsys):
    """The prompts are shorter than what the server counts, so that the estimate is too low."""
    with FakeEndpoint(answer) as server:
        command = [*arguments(tmp_path, server, 12, max_tokens=100), "--concurrency", "1"]
        assert main([*command, "--max-cost", "4"]) == 2
        assert "stopped at max_cost 4" in capsys.readouterr().err
        asked = server.calls
        assert 3 <= asked <= 5 and len(answers(tmp_path)) == asked
        assert main([*command, "--max-cost", "100"]) == 0
        assert server.calls == 12 == len(answers(tmp_path))


def test_a_server_without_prices_counts_nothing_towards_the_limit(tmp_path):
    with FakeEndpoint(answer) as server:
        assert main([*arguments(tmp_path, server, 3, prices=None), "--max-cost", "0"]) == 0
    assert money_spent(tmp_path / "out") == 0 and read_results(tmp_path / "out").models[0].generating["unpriced"] == 3


def test_an_interrupt_lets_the_paid_requests_come_home(tmp_path):
    def slow(user, before):
        return Reply("\\boxed{1}", delay=0.3)

    with FakeEndpoint(slow) as server:
        command = [*arguments(tmp_path, server, 400), "--concurrency", "4"]
        interrupt = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
        started = threading.Thread(target=lambda: wait_for(lambda: server.calls) and interrupt.start())
        started.start()
        assert main(command) == 130
        started.join()
        assert 0 < server.calls < 400 and len(answers(tmp_path)) == server.calls


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
