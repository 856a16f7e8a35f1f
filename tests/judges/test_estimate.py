"""What a paid judge will be asked for is counted before it is asked, and nothing else is."""

import pytest
from fake_endpoint import FakeEndpoint, longer_wins

from alignkit.judges import EndpointOptions, LengthJudge, LLMJudge, load_judge
from alignkit.judges.estimate import Work, estimate, mean_tokens, requests_of


LLM = {"judge": "llm", "model": "m", "max_tokens": 100}
COMPARED, SCORED = Work(10, None, 20.0, 50.0), Work(10, 4, 20.0, 50.0)


@pytest.mark.parametrize(
    "spec, work, calls",
    [
        (LLM, COMPARED, 20),
        ({**LLM, "both_orders": False}, COMPARED, 10),
        ({"judge": "llm_score", "model": "m"}, SCORED, 40),
        ({"judge": "llm_score", "model": "m"}, COMPARED, 20),
        ({"judge": "llm_side_by_side", "model": "m"}, SCORED, 10),
        ({"judge": "vote", "judges": [LLM, {"judge": "length"}, LLM]}, COMPARED, 40),
        ({"judge": "ensemble", "judges": [{"judge": "llm_score", "model": "m"}, {"judge": "length"}]}, SCORED, 40),
    ],
)
def test_requests_are_counted_for_each_kind_of_judge(spec, work, calls):
    assert sum(requests.calls for requests in requests_of(load_judge(spec), work)) == calls


def test_the_requests_that_are_counted_are_those_that_are_sent():
    with FakeEndpoint(longer_wins) as server:
        options = EndpointOptions(model="m", base_url=server.base_url, api_key_env=None)
        judge = LLMJudge(options)
        prompts, first, second = ["a question", "another"], ["aaaa", "bbbb"], ["c", "d"]
        work = Work(2, None, mean_tokens(prompts), mean_tokens(first + second))
        (requests,) = requests_of(judge, work)
        judge.compare_batch(prompts, first, second)
        assert requests.calls == server.calls
        sent = sum(len(message["content"]) for body in server.bodies for message in body["messages"]) / 4
        assert requests.prompt_tokens == pytest.approx(sent, rel=0.1)  # the names of the fields are in the template


def test_the_price_is_that_of_the_table_and_its_absence_is_said():
    prices = {"m": {"prompt": 1000.0, "completion": 10.0}}
    (line,) = estimate(load_judge({**LLM, "prices": prices}), [COMPARED, COMPARED])
    judge = load_judge(LLM)
    fixed = (len(judge.template) + len(judge.system_prompt)) / 4
    tokens = 40 * (fixed + 20 + 2 * 50)
    assert f"m: 40 requests, about {tokens:,.0f} tokens in and at most 4,000 out (`max_tokens` 100)" in line
    assert f"at most {(tokens * 1000 + 4000 * 10) / 1e6:,.2f}" in line
    assert "no price is known" in estimate(judge, [COMPARED])[0]
    assert "as many out as the model writes" in estimate(load_judge({**LLM, "max_tokens": None}), [COMPARED])[0]


def test_a_judge_that_costs_nothing_has_no_estimate():
    assert estimate(LengthJudge(), [COMPARED, SCORED]) == []
