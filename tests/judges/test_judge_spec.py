"""From a file or a name to a judge, and what is said when it is wrong."""

import json

import pytest
from tiny_judges import save_classifier

from alignkit.errors import InputError
from alignkit.judges import EnsembleJudge, LengthJudge, LLMJudge, RewardModelJudge, load_judge


def test_a_yaml_file_gives_an_llm_judge_with_its_options(tmp_path):
    file = tmp_path / "judge.yaml"
    file.write_text(
        "judge: llm\nmodel: gpt-x\nbase_url: http://localhost:1/v1\nparser: json\ntemperature: 0\n"
        "max_tokens_field: max_completion_tokens\nextra_body: {reasoning_effort: low}\n"
    )
    judge = load_judge(str(file))
    assert isinstance(judge, LLMJudge) and judge.parser == "json" and judge.options.max_concurrency == 16
    assert judge.options.sampling() == {
        "model": "gpt-x",
        "max_completion_tokens": 1024,
        "temperature": 0,
        "reasoning_effort": "low",
    }


def test_a_name_is_a_reward_model_and_options_reach_every_local_model(tmp_path):
    folder = save_classifier(tmp_path / "model")
    judge = load_judge("my-alias", {"batch_size": 3, "dtype": None}, resolve=lambda name: folder)
    assert isinstance(judge, RewardModelJudge) and judge.local.options.batch_size == 3
    spec = {"judge": "ensemble", "objective": "wco", "judges": [folder, {"judge": "length", "target": 5}]}
    ensemble = load_judge(spec, {"batch_size": 2})
    assert isinstance(ensemble, EnsembleJudge) and ensemble.judges[0].local.options.batch_size == 2
    assert isinstance(ensemble.judges[1], LengthJudge) and ensemble.objective == "wco"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"judge": "oracle"}, "judge is 'oracle': it must be one of"),
        ({"judge": "llm", "model": "m", "temprature": 0}, "'temprature': did you mean temperature"),
        ({"judge": "llm"}, "lacks the setting 'model'"),
        ({"judge": "ensemble"}, "lacks the setting 'judges'"),
        ({"judge": "regex", "pattern": "("}, "no regular expression"),
        ({"judge": "length", "goal": 3}, "it has target, unit"),
    ],
)
def test_a_wrong_spec_is_named(spec, words, tmp_path):
    file = tmp_path / "judge.json"
    file.write_text(json.dumps(spec))
    with pytest.raises(InputError, match=words):
        load_judge(str(file))


@pytest.mark.parametrize(
    ("content", "words"), [("[1, 2]", "holds a list"), ("{", "is not valid"), (None, "cannot be read")]
)
def test_a_file_that_is_no_spec_is_named(content, words, tmp_path):
    file = tmp_path / "judge.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=words):
        load_judge(str(file))
