"""A judge that has to be paid, in the loop: the cost is said first, and no call is paid for twice."""

import json

import pytest
from fake_endpoint import FakeEndpoint, Reply, longer_wins, shown
from loop_runs import Killed, read_rows, runner


@pytest.fixture
def paid(tmp_path, settings):
    """`paid(server)`: fields of a loop whose judge is behind that endpoint."""

    def fields(server, **own):
        spec = {
            "judge": "llm",
            "model": "m",
            "base_url": server.base_url,
            "api_key_env": None,
            "max_tokens": 64,
            "backoff": 0.01,
            "prices": {"m": {"prompt": 2.5, "completion": 10.0}},
            **own,
        }
        (tmp_path / "judge.json").write_text(json.dumps(spec))
        return {**settings, "judge": str(tmp_path / "judge.json"), "num_iterations": 1, "num_prompts": 4}

    return fields


def test_killed_while_judging_and_resumed_pays_no_call_twice(paid, monkeypatch, caplog):
    """Killed when replies have been paid for and no verdict of their batch is on the disk yet: the worst moment."""

    class DiesInLog:
        def __init__(self, path):
            pass

        def __iter__(self):
            return iter(())

        def append(self, *records):
            raise Killed

    with FakeEndpoint(longer_wins) as server:
        fields = paid(server)
        with monkeypatch.context() as patch:
            patch.setattr("alignkit.trainers.iterative.stages.judge.RecordLog", DiesInLog)
            with pytest.raises(Killed), caplog.at_level("INFO"):
                runner("sppo", fields).run()
        paid_for = server.calls
        assert paid_for > 0
        loop = runner("sppo", fields)
        loop.run()
        assert set(server.asked.values()) == {1}
        assert server.calls > paid_for
        assert len(read_rows(loop.folder / "replies.cache.jsonl")) == server.calls
        # Before the first request: at most so many requests, and what they cost at most.
        most = 2 * (4 * 6 + 2 * 4)
        assert f"cost: m: {most} requests" in caplog.text and "at its `prices`" in caplog.text
        assert server.calls <= most


def test_failures_cost_and_position_bias_of_an_iteration_stand_in_its_metrics(paid):
    """Of the first prompt nothing can be made out, for the second always the first answer is named."""
    seen: list[str] = []

    def behaviour(user: str, before: int) -> Reply:
        request = shown(user)[0]
        seen.extend([request] if request not in seen else [])
        return {0: Reply("Hard to say."), 1: Reply("[[A]]")}.get(seen.index(request)) or longer_wins(user)

    with FakeEndpoint(behaviour) as server:
        loop = runner("sppo", {**paid(server), "num_prompts": 8})
        loop.run()
        replies = read_rows(loop.folder / "replies.cache.jsonl")
    (metrics,) = read_rows(loop.folder / "metrics.jsonl")[1:]
    judged = metrics["judge/calls"]
    assert 0 < metrics["judge/failures/unparseable"] < judged
    assert metrics["judge/cost"] == pytest.approx(judged * (100 * 2.5 + 10 * 10.0) / 1e6)
    assert metrics["judge/prompt_tokens"] == 100 * judged and judged <= len(replies)
    assert 0 < metrics["judge/position_bias"] <= 0.5 and 0 < metrics["judge/inconsistent_share"] <= 1
    pairs = read_rows(loop.folder / "iter_0" / "pairs.jsonl")
    assert pairs and all(row["prompt"][0]["content"] not in seen[:2] for row in pairs)
