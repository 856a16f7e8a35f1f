"""The LLM judge against a local endpoint that answers well, badly, slowly, or not at all."""

import asyncio
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from fake_endpoint import FakeEndpoint, Reply, longer_wins, shown

from alignkit.errors import InputError
from alignkit.judges import EndpointOptions, LLMJudge, LLMScoreJudge


KEY = "sk-test-4f1d0c9b8a7e6d5c"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def options(server: FakeEndpoint, **changes) -> EndpointOptions:
    values = {
        "model": "judge-1",
        "base_url": server.base_url,
        "api_key_env": "JUDGE_KEY",
        "backoff": 0.01,
        "max_backoff": 0.02,
        "timeout": 30.0,
        "max_concurrency": 8,
    }
    return EndpointOptions(**{**values, **changes})


def test_preferences_are_antisymmetric_with_one_half_on_the_diagonal():
    with FakeEndpoint(longer_wins) as server:
        judge = LLMJudge(options(server))
        preferences = judge.judge(["p", "q"], [["aaa", "b", "cc"], ["d", "ee", "d"]])
        assert preferences[0].tolist() == [[0.5, 1, 1], [0, 0.5, 0], [0, 1, 0.5]]
        assert preferences[1].tolist() == [[0.5, 0, 0.5], [1, 0.5, 1], [0.5, 0, 0.5]]
        # 6 pairs, one of equal texts (a tie without a call), one asked twice over equal texts: 3 + 1 pairs, 2 orders.
        assert server.calls == judge.stats.calls == 8
        assert judge.compare("p", "aaa", "b") == 1.0 and server.calls == 8
        assert judge.stats.to_dict()["position_bias"] == {"pairs": 6, "bias": 0.0, "inconsistent_share": 0.0}


def test_a_judge_that_always_names_the_first_gives_ties_and_its_bias_is_reported():
    with FakeEndpoint(lambda user, before: Reply("[[A]]")) as server:
        judge = LLMJudge(options(server))
        assert judge.judge(["p"], [["a", "bb", "ccc"]])[0].tolist() == [[0.5] * 3] * 3
        assert judge.stats.to_dict()["position_bias"] == {"pairs": 3, "bias": 0.5, "inconsistent_share": 1.0}
        once = LLMJudge(options(server), both_orders=False)
        assert once.compare("p", "a", "bb") == 1.0
        assert once.stats.to_dict()["position_bias"] is None


TROUBLES = {
    "rate": Reply(status=429, body='{"error": {"message": "slow down"}}', headers={"Retry-After": "0.05"}),
    "server": Reply(status=500, body="oops"),
    "slow": Reply("[[A]]", delay=8.0),
    "garbled": Reply(body='{"choices": [{"mess'),
    "silent": Reply(""),
    "wordy": Reply("Both have their strengths."),
    "wrong": Reply("[[D]]"),
    "cut": Reply("Answer A is", finish_reason="length"),
}


def test_every_trouble_that_passes_ends_in_the_right_verdict_and_is_counted():
    def behaviour(user: str, before: int) -> Reply:
        return TROUBLES[shown(user)[0]] if before == 0 else longer_wins(user)

    names = list(TROUBLES)
    with FakeEndpoint(behaviour) as server:
        judge = LLMJudge(options(server, timeout=3.0))
        wins = judge.compare_batch(names, ["long answer"] * len(names), ["short"] * len(names))
        assert wins.tolist() == [1.0] * len(names)
        assert judge.stats.retries == {"rate_limited": 2, "server_error": 2, "timeout": 2, "bad_response": 2}
        assert not judge.stats.failures
        assert set(server.asked.values()) == {2}


def test_troubles_that_stay_are_nan_and_counted_by_kind_while_the_rest_is_judged():
    def behaviour(user: str, before: int) -> Reply:
        return TROUBLES.get(shown(user)[0]) or longer_wins(user)

    names = [*TROUBLES, "fine"]
    with FakeEndpoint(behaviour) as server:
        judge = LLMJudge(options(server, timeout=3.0, max_retries=1))
        preferences = judge.judge(names, [["long answer", "short"]] * len(names))
        assert np.isnan(preferences[:-1, 0, 1]).all() and np.isnan(preferences[:-1, 1, 0]).all()
        assert preferences[-1].tolist() == [[0.5, 1], [0, 0.5]]
        assert judge.stats.failures == {
            "rate_limited": 2,
            "server_error": 2,
            "timeout": 2,
            "bad_response": 2,
            "empty": 2,
            "unparseable": 4,
            "truncated": 2,
        }


def test_malformed_json_and_wrong_verdicts_are_asked_again_and_never_scored():
    """With the parser "json": what a reply says is a verdict only if it is one."""
    bad = {"cut": '{"verdict": "A"', "wrong": '{"verdict": "neither"}', "none": '{"reason": "A"}', "list": '["A"]'}

    def behaviour(user: str, before: int) -> Reply:
        request, first, second = shown(user)
        passes = "stays" not in (first, second)
        good = json.dumps({"reason": "longer", "verdict": "A" if len(first) > 5 else "B"})
        return Reply(bad[request]) if before == 0 or not passes else Reply(good)

    with FakeEndpoint(behaviour) as server:
        judge = LLMJudge(options(server), parser="json")
        wins = judge.compare_batch(list(bad) * 2, ["long answer"] * 8, ["short"] * 4 + ["stays"] * 4)
        assert wins[:4].tolist() == [1.0] * 4 and np.isnan(wins[4:]).all()
        assert judge.stats.failures == {"unparseable": 8} and set(server.asked.values()) == {2}


def test_one_failed_order_makes_the_pair_nan_instead_of_biased():
    def behaviour(user: str, before: int) -> Reply:
        return Reply("[[A]]") if shown(user)[1] == "a" else Reply("no idea")

    with FakeEndpoint(behaviour) as server:
        assert math.isnan(LLMJudge(options(server)).compare("p", "a", "b"))


def test_a_refused_request_is_not_repeated_and_the_server_that_is_gone_is_a_connection_failure():
    with FakeEndpoint(lambda user, before: Reply(status=400, body="too long")) as server:
        judge = LLMJudge(options(server))
        assert math.isnan(judge.compare("p", "a", "b"))
        assert judge.stats.failures == {"refused": 2} and server.calls == 2
        gone = options(server, max_retries=1)
    judge = LLMJudge(gone)
    assert math.isnan(judge.compare("p", "a", "b"))
    assert judge.stats.failures == {"connection": 2} and judge.stats.retries == {"connection": 2}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, f"Incorrect API key provided: {KEY}", "refuses the key (from JUDGE_KEY)"),
        (404, "model not found", "does not know the address or the model"),
        (429, '{"error": {"code": "insufficient_quota"}}', "no credit left"),
    ],
)
def test_an_endpoint_that_can_answer_nothing_stops_the_run_at_once_in_one_sentence(status, body, words):
    with FakeEndpoint(lambda user, before: Reply(status=status, body=body)) as server:
        judge = LLMJudge(options(server, max_concurrency=2))
        with pytest.raises(InputError) as error:
            judge.judge(["p"], [list("abcdefgh")])
        assert words in str(error.value) and KEY not in str(error.value)
        assert server.calls <= 4


def test_a_missing_key_is_named_by_its_variable(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY")
    with FakeEndpoint(longer_wins) as server, pytest.raises(InputError, match="JUDGE_KEY"):
        LLMJudge(options(server)).compare("p", "a", "bb")
    with FakeEndpoint(longer_wins) as server:
        assert LLMJudge(options(server, api_key_env=None)).compare("p", "a", "bb") == 0.0
        assert server.authorizations == {None}


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(status):
    def behaviour(user: str, before: int) -> Reply:
        return Reply(status=status, headers={"Retry-After": "0.6"}) if before == 0 else longer_wins(user)

    with FakeEndpoint(behaviour) as server:
        assert LLMJudge(options(server), both_orders=False).compare("p", "aa", "b") == 1.0
        assert server.times[1] - server.times[0] >= 0.6


def test_a_rate_limit_holds_the_other_requests_back_too():
    started: dict[str, float] = {}

    def behaviour(user: str, before: int) -> Reply:
        name = shown(user)[0]
        started[name] = time.monotonic()
        if name == "limited" and before == 0:
            return Reply(status=429, headers={"Retry-After": "1.5"})
        return Reply("[[A]]", delay=0.3 if name == "running" else 0.0)

    with FakeEndpoint(behaviour) as server:
        judge = LLMJudge(options(server, max_concurrency=2), both_orders=False)
        judge.compare_batch(["limited", "running", "next"], ["a"] * 3, ["b"] * 3)
        assert started["next"] - server.times[0] >= 1.4


def test_sixty_four_requests_are_held_at_once_and_never_more():
    together = threading.Barrier(64, timeout=60)

    def behaviour(user: str, before: int) -> Reply:
        together.wait()
        return longer_wins(user)

    with FakeEndpoint(behaviour) as server:
        judge = LLMJudge(options(server, max_concurrency=64, timeout=60))
        wins = judge.compare_batch([f"p{n}" for n in range(64)], ["aa"] * 64, ["b"] * 64)
        assert wins.tolist() == [1.0] * 64
        assert server.most_in_flight == 64 and server.calls == 128


def test_what_was_paid_for_is_never_asked_again(tmp_path):
    cache = tmp_path / "judge.jsonl"
    broken = {"b": Reply("unclear")}

    def behaviour(user: str, before: int) -> Reply:
        return broken.get(shown(user)[0]) or longer_wins(user)

    with FakeEndpoint(behaviour) as server:
        first = LLMJudge(options(server), cache=cache)
        wins = first.compare_batch(["a", "b"], ["xx", "xx"], ["y", "y"])
        assert server.calls == 2 + 4  # two attempts for each order of the unclear one
        # Other settings of transport and another judge object: the same verdicts, and the same failure, without a call.
        again = LLMJudge(options(server, max_concurrency=1, max_retries=0), cache=cache)
        assert np.array_equal(again.compare_batch(["a", "b"], ["xx", "xx"], ["y", "y"]), wins, equal_nan=True)
        assert server.calls == 6 and again.stats.calls == 0 and again.stats.cache_hits == 4
        assert again.stats.failures == {"unparseable": 2} and again.fingerprint == first.fingerprint
        zero, as_float = (LLMJudge(options(server, temperature=value)) for value in (0, 0.0))
        assert zero.fingerprint == as_float.fingerprint
        # Anything that may change a verdict is another judge.
        for changed in (
            LLMJudge(options(server, temperature=0), cache=cache),
            LLMJudge(options(server, model="judge-2"), cache=cache),
            LLMJudge(options(server), system_prompt="Be strict.", cache=cache),
        ):
            calls = server.calls
            assert changed.fingerprint != first.fingerprint
            assert changed.compare("a", "xx", "y") == 1.0 and server.calls == calls + 2


def test_a_line_cut_by_a_crash_costs_one_call(tmp_path):
    cache = tmp_path / "judge.jsonl"
    with FakeEndpoint(longer_wins) as server:
        LLMJudge(options(server), cache=cache).compare_batch(["p", "q"], ["aa"] * 2, ["b"] * 2)
        cache.write_bytes(cache.read_bytes()[:-25])
        again = LLMJudge(options(server), cache=cache)
        assert again.compare_batch(["p", "q"], ["aa"] * 2, ["b"] * 2).tolist() == [1.0, 1.0]
        assert again.stats.calls == 1
        last = LLMJudge(options(server), cache=cache)
        last.compare_batch(["p", "q"], ["aa"] * 2, ["b"] * 2)
        assert last.stats.calls == 0


SCRIPT = """
import sys
from alignkit.judges import EndpointOptions, LLMJudge
options = EndpointOptions(model="judge-1", base_url=sys.argv[1], api_key_env="JUDGE_KEY", max_concurrency=4)
judge = LLMJudge(options, cache=sys.argv[2])
judge.compare_batch([f"p{n}" for n in range(60)], ["aa"] * 60, ["b"] * 60)
"""


def test_after_kill_minus_nine_no_recorded_call_is_repeated(tmp_path):
    cache = tmp_path / "judge.jsonl"

    def behaviour(user: str, before: int) -> Reply:
        reply = longer_wins(user)
        reply.delay = 0.03
        return reply

    with FakeEndpoint(behaviour) as server:
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, server.base_url, str(cache)], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and (not cache.is_file() or cache.read_bytes().count(b"\n") < 20):
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        errors = process.stderr.read()
        process.stderr.close()
        time.sleep(0.2)  # the server finishes what was in flight
        recorded = sum(1 for _ in cache.open())
        asked_before, calls_before = dict(server.asked), server.calls
        assert 20 <= recorded < 120, errors

        judge = LLMJudge(options(server, max_concurrency=4), cache=cache)
        wins = judge.compare_batch([f"p{n}" for n in range(60)], ["aa"] * 60, ["b"] * 60)
        assert wins.tolist() == [1.0] * 60
        # Asked again is only what had no record: the (at most four) requests whose reply the kill cut off.
        assert judge.stats.cache_hits == recorded
        assert server.calls - calls_before == 120 - recorded
        repeated = [user for user, count in server.asked.items() if count > 1]
        assert all(user in asked_before for user in repeated) and len(repeated) <= 4


def test_the_key_is_in_no_file_log_or_message(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    replies = {
        "echo": Reply(f"[[A]] by the way, your key is {KEY}"),
        "error": Reply(status=500, body=f"bad header Authorization: Bearer {KEY}"),
        "refuse": Reply(status=400, body=f"key {KEY} may not"),
        "garbled": Reply(body=f"<html>{KEY}</html>"),
    }
    cache = tmp_path / "judge.jsonl"
    with FakeEndpoint(lambda user, before: replies[shown(user)[0]]) as server:
        judge = LLMJudge(options(server, max_retries=1), cache=cache)
        judge.judge(list(replies), [["a", "b"]] * len(replies))
        assert server.authorizations == {f"Bearer {KEY}"}
    written = cache.read_text()
    assert "[key]" in written and "refused" in written
    for text in (written, caplog.text, repr(judge.options), json.dumps(judge.identity()), str(judge.stats)):
        assert KEY not in text
    assert KEY not in repr(vars(judge)) + repr(vars(judge.replies))


def test_the_request_holds_exactly_what_the_options_say():
    with FakeEndpoint(longer_wins) as server:
        bare = options(server, max_tokens=None)
        LLMJudge(bare, system_prompt="", both_orders=False).compare("p", "a", "bb")
        assert set(server.bodies[0]) == {"model", "messages"} and len(server.bodies[0]["messages"]) == 1
        full = options(
            server,
            max_tokens=77,
            max_tokens_field="max_completion_tokens",
            temperature=0.0,
            top_p=0.5,
            seed=3,
            top_logprobs=5,
            extra_body={"reasoning_effort": "low"},
        )
        LLMJudge(full, both_orders=False).compare("p", "a", "bb")
        sent = {name: value for name, value in server.bodies[1].items() if name not in ("model", "messages")}
        assert sent == {
            "max_completion_tokens": 77,
            "temperature": 0.0,
            "top_p": 0.5,
            "seed": 3,
            "logprobs": True,
            "top_logprobs": 5,
            "reasoning_effort": "low",
        }
        assert [message["role"] for message in server.bodies[1]["messages"]] == ["system", "user"]


def test_cost_is_tokens_times_price_and_calls_without_a_price_are_counted():
    with FakeEndpoint(longer_wins) as server:
        judge = LLMJudge(options(server, prices={"judge-1": {"prompt": 2.5, "completion": 10.0}}))
        judge.compare("p", "a", "bb")
        assert judge.stats.cost == pytest.approx(2 * (100 * 2.5 + 10 * 10.0) / 1e6)
        assert (judge.stats.prompt_tokens, judge.stats.completion_tokens, judge.stats.unpriced_calls) == (200, 20, 0)
        judge = LLMJudge(options(server))
        judge.compare("p", "a", "bb")
        assert judge.stats.cost == 0 and judge.stats.unpriced_calls == 2


def test_logprobs_give_the_probability_of_the_first_shown():
    def behaviour(user: str, before: int) -> Reply:
        first = shown(user)[1]
        return Reply("A", logprobs={"A": math.log(0.6), "B": math.log(0.2)} if first == "a" else {"B": math.log(0.9)})

    with FakeEndpoint(behaviour) as server:
        judge = LLMJudge(options(server, top_logprobs=5), parser="logprobs")
        # p_ab = 0.75, p_ba = 0 (a missing label has probability 0).
        assert judge.compare("p", "a", "b") == pytest.approx((0.75 + 1 - 0) / 2)
    with pytest.raises(InputError, match="top_logprobs"):
        LLMJudge(EndpointOptions(model="m"), parser="logprobs")


def test_braces_and_conversations_reach_the_judge_unchanged():
    with FakeEndpoint(longer_wins) as server:
        judge = LLMJudge(options(server), both_orders=False)
        prompt = [{"role": "system", "content": "Be {first}."}, {"role": "user", "content": "Write {second}"}]
        judge.compare(prompt, "{prompt}", [{"role": "assistant", "content": "{}"}])
        request, first, second = shown(server.bodies[0]["messages"][-1]["content"])
        assert request == "system: Be {first}.\n\nuser: Write {second}" and (first, second) == ("{prompt}", "{}")


def test_it_works_where_an_event_loop_runs_already():
    async def notebook(judge: LLMJudge) -> float:
        return judge.compare("p", "a", "bb")

    with FakeEndpoint(longer_wins) as server:
        assert asyncio.run(notebook(LLMJudge(options(server)))) == 0.0


def test_the_score_judge_grades_each_answer_and_refuses_what_is_off_the_scale(tmp_path):
    grades = {"good": "Fine. [[9]]", "poor": '{"score": 2.5}', "absurd": "[[11]]"}

    def behaviour(user: str, before: int) -> Reply:
        answer = user.split("# Answer\n\n")[1].split("\n\n# Your grade")[0]
        return Reply(grades[answer])

    with FakeEndpoint(behaviour) as server:
        judge = LLMScoreJudge(options(server), attempts=1, cache=tmp_path / "scores.jsonl")
        scores = judge.scores(["p"], [["good", "poor", "absurd"]])
        assert scores[0, :2].tolist() == [9.0, 2.5] and math.isnan(scores[0, 2])
        assert judge.stats.failures == {"unparseable": 1}
        assert judge.compare("p", "good", "poor") == pytest.approx(1 / (1 + math.exp(-6.5)))
        assert server.calls == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"max_concurrency": 0}, "max_concurrency is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"max_tokens_field": "max_token"}, "max_tokens_field"),
        ({"prices": {"m": {"prompt": 1.0}}}, "lacks prompt or completion"),
        ({"model": ""}, "model is empty"),
    ],
)
def test_bad_endpoint_options_are_named(change, words):
    with pytest.raises(InputError, match=words):
        EndpointOptions(**{"model": "m", **change})
