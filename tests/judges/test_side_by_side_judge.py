"""One reply scores all responses to a prompt: DNO's judge, against a local endpoint."""

import json
import math
import re

import numpy as np
import pytest
from fake_endpoint import FakeEndpoint, Reply

from alignkit.errors import InputError
from alignkit.judges import EndpointOptions, LLMSideBySideJudge, load_judge


def answers(user: str) -> list[str]:
    """The answers in the order in which they are shown."""
    body = user.split("\n\n# Your grades")[0]
    return re.split(r"\n\n# Answer \d+\n\n", body)[1:]


def by_length(user: str, before: int = 0) -> Reply:
    return Reply(f"Let me see. {json.dumps({'scores': [min(6, len(text)) for text in answers(user)]})}")


def judge_of(server: FakeEndpoint, **changes) -> LLMSideBySideJudge:
    options = EndpointOptions(model="j", base_url=server.base_url, api_key_env=None, backoff=0.01)
    return LLMSideBySideJudge(options, **changes)


def test_one_request_scores_all_responses_and_equal_ones_are_shown_once():
    with FakeEndpoint(by_length) as server:
        judge = judge_of(server)
        scores = judge.scores(["p", "q"], [["aaa", "b", "cc", "b"], ["dddd"]])
        assert scores[0].tolist() == [3, 1, 2, 1] and scores[1, 0] == 4 and np.isnan(scores[1, 1:]).all()
        assert server.calls == 2 and judge.has_scores
        assert sorted(answers(server.bodies[0]["messages"][-1]["content"])) in (["aaa", "b", "cc"], ["dddd"])
        # Two responses are compared by their scores side by side.
        assert judge.compare("p", "aaa", "b") == pytest.approx(1 / (1 + math.exp(-2)))


def test_no_place_is_favoured_and_the_same_question_has_the_same_order():
    with FakeEndpoint(by_length) as server:
        judge = judge_of(server)
        groups = [["student", "another", "the teacher"]] * 40
        judge.scores([f"p{n}" for n in range(40)], groups)
        places = [answers(body["messages"][-1]["content"]).index("the teacher") for body in server.bodies]
        assert set(places) == {0, 1, 2}
        calls = server.calls
        judge.scores(["p0"], [["the teacher", "another", "student"]])  # whatever order they come in
        assert server.calls == calls


@pytest.mark.parametrize(
    "text",
    [
        '{"scores": [1, 2]}',  # one is missing
        '{"scores": [1, 2, 3, 4]}',
        '{"scores": [1, 2, 7]}',  # above the scale
        '{"scores": [1, 2, "good"]}',
        '{"scores": [1, 2, true]}',
        '{"scores": {"1": 2}}',
        '{"scores": [1, 2',
        "1, 2, 3",
    ],
)
def test_a_reply_without_one_score_in_range_per_response_is_a_failure_of_all(text):
    with FakeEndpoint(lambda user, before: Reply(text)) as server:
        judge = judge_of(server, attempts=2)
        assert np.isnan(judge.scores(["p"], [["a", "b", "c"]])).all()
        assert judge.stats.failures == {"unparseable": 1} and server.calls == 2


def test_what_was_paid_for_is_not_asked_again(tmp_path):
    with FakeEndpoint(by_length) as server:
        cache = tmp_path / "replies.jsonl"
        first = judge_of(server, cache=cache).scores(["p"], [["aa", "b"]])
        again = judge_of(server, cache=cache)
        assert np.array_equal(again.scores(["p"], [["aa", "b"]]), first)
        assert server.calls == 1 and again.stats.cache_hits == 1


def test_a_judge_file_makes_it_and_bad_settings_are_named(tmp_path):
    spec = {"judge": "llm_side_by_side", "model": "m", "low": 0, "high": 6}
    assert isinstance(load_judge(spec), LLMSideBySideJudge)
    with pytest.raises(InputError, match="low must be below high"):
        load_judge({**spec, "low": 6})
    with pytest.raises(InputError, match=r"lacks the field \{responses\}"):
        load_judge({**spec, "template": "{prompt}"})
