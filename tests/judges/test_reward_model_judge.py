"""The reward-model judge: batches do not matter, the template does, and nothing is scored at random or silently."""

import math
import shutil

import numpy as np
import pytest
import torch
from tiny_judges import save_classifier, save_reward_adapter
from tiny_qwen import save_model

from alignkit.errors import InputError
from alignkit.generation import LoadOptions
from alignkit.judges import RewardModelJudge


PROMPTS = ["What is 2+2?", [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "And 3+3?"}]]
RESPONSES = [["4", "It is four, I believe.", "5"], ["6", "The answer is 6.", "six"]]


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory) -> str:
    return save_classifier(tmp_path_factory.mktemp("reward_model"))


@pytest.fixture(scope="module")
def language_model(tmp_path_factory) -> str:
    return save_model(tmp_path_factory.mktemp("language_model"))


def score_text(folder: str, text: str) -> float:
    """The score of a rendered text, straight from transformers."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return float(model(input_ids=ids).logits[0, 0])


def test_scores_are_those_of_the_whole_conversation_under_the_chat_template(reward_model):
    scores = RewardModelJudge(reward_model).scores(PROMPTS, RESPONSES)
    first = score_text(reward_model, "<|user|>What is 2+2?<|assistant|>It is four, I believe.")
    second = score_text(reward_model, "<|system|>Be brief.<|user|>And 3+3?<|assistant|>6")
    assert scores[0, 1] == pytest.approx(first, abs=1e-5) and scores[1, 0] == pytest.approx(second, abs=1e-5)
    assert np.ptp(scores) > 0.1


def test_a_response_may_be_several_messages(reward_model):
    turns = [
        {"role": "assistant", "content": "3?"},
        {"role": "user", "content": "No."},
        {"role": "assistant", "content": "4"},
    ]
    text = "<|user|>What is 2+2?<|assistant|>3?<|user|>No.<|assistant|>4"
    score = RewardModelJudge(reward_model).scores([PROMPTS[0]], [[turns]])[0, 0]
    assert score == pytest.approx(score_text(reward_model, text), abs=1e-5)


def test_the_batch_size_changes_neither_scores_nor_their_order_nor_the_fingerprint(reward_model):
    judges = [RewardModelJudge(reward_model, LoadOptions(batch_size=size)) for size in (1, 4, 32)]
    one, four, many = (judge.scores(PROMPTS, RESPONSES) for judge in judges)
    assert np.allclose(one, four, atol=1e-5) and np.allclose(one, many, atol=1e-5)
    assert len({judge.fingerprint for judge in judges}) == 1
    assert judges[0].stats.calls == 6


def test_preferences_are_bradley_terry_and_missing_responses_are_nan(reward_model):
    judge = RewardModelJudge(reward_model)
    responses = [RESPONSES[0], RESPONSES[1][:2]]
    scores, preferences = judge.scores(PROMPTS, responses), judge.judge(PROMPTS, responses)
    assert preferences.shape == (2, 3, 3) and math.isnan(scores[1, 2])
    for i in range(3):
        for j in range(3):
            expected = 1 / (1 + math.exp(scores[0, j] - scores[0, i]))
            assert preferences[0, i, j] == pytest.approx(expected, abs=1e-9)
    assert np.isnan(preferences[1, 2]).all() and np.isnan(preferences[1, :, 2]).all()
    assert preferences[1, 0, 0] == 0.5 and preferences[1, 0, 1] + preferences[1, 1, 0] == pytest.approx(1)
    assert judge.compare(PROMPTS[0], "4", "5") == pytest.approx(preferences[0, 0, 2], abs=1e-6)


def test_plain_text_is_concatenated_with_eos_where_asked_or_without_a_template(reward_model, tmp_path):
    text = "1+1=2<eos>"
    asked = RewardModelJudge(reward_model, plain_format="concatenate").scores(["1+1="], [["2", "2<eos>"]])
    assert asked[0] == pytest.approx([score_text(reward_model, text)] * 2, abs=1e-5)
    plain = save_classifier(tmp_path, chat=False)
    judge = RewardModelJudge(plain)
    assert judge.scores(["1+1="], [["2"]])[0, 0] == pytest.approx(score_text(plain, text), abs=1e-5)
    with pytest.raises(InputError, match="no chat template"):
        judge.scores([[{"role": "user", "content": "1+1="}]], [["2"]])


def test_an_adapter_on_a_language_model_scores_as_the_model_that_was_saved(language_model, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    adapter = save_reward_adapter(tmp_path / "adapter", language_model)
    judge = RewardModelJudge(adapter)
    score = judge.scores(["hi"], [["there"]])[0, 0]
    base = AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter).eval()
    ids = judge.local.load(None).tokenizer("<|user|>hi<|assistant|>there", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        assert score == pytest.approx(float(model(input_ids=torch.tensor([ids])).logits[0, 0]), abs=1e-5)
    assert judge.identity()["base"] == language_model


def test_a_model_without_a_trained_head_is_refused_not_scored_at_random(language_model, tmp_path):
    with pytest.raises(InputError, match=r"score\.weight"):
        RewardModelJudge(language_model).scores(["p"], [["a"]])
    headless = save_reward_adapter(tmp_path / "headless", language_model, with_head=False)
    with pytest.raises(InputError, match=r"score\.weight"):
        RewardModelJudge(headless).scores(["p"], [["a"]])
    two = save_classifier(tmp_path / "two", num_labels=2)
    with pytest.raises(InputError, match="2 outputs"):
        RewardModelJudge(two).scores(["p"], [["a"]])
    with pytest.raises(InputError, match="does not exist"):
        RewardModelJudge(str(tmp_path / "nowhere"))


def test_four_bits_quantise_the_body_and_keep_the_head(reward_model):
    judge = RewardModelJudge(reward_model, LoadOptions(load_in_4bit=True))
    scores = judge.scores(PROMPTS, RESPONSES)
    model = judge.local.load(None).model
    assert model.model.layers[0].mlp.down_proj.weight.dtype == torch.uint8
    assert model.score.weight.dtype == torch.float32
    exact = RewardModelJudge(reward_model)
    assert np.corrcoef(scores.ravel(), exact.scores(PROMPTS, RESPONSES).ravel())[0, 1] > 0.8
    assert judge.fingerprint != exact.fingerprint


def test_what_cannot_be_read_whole_is_nan_and_counted(reward_model):
    judge = RewardModelJudge(reward_model)
    scores = judge.scores(["p"], [["short", "x" * 200]])
    assert np.isfinite(scores[0, 0]) and math.isnan(scores[0, 1])
    assert judge.stats.failures == {"too_long": 1}
    preferences = judge.judge(["p"], [["short", "x" * 200]])
    assert math.isnan(preferences[0, 0, 1]) and preferences[0].diagonal().tolist() == [0.5, 0.5]
    narrow = RewardModelJudge(reward_model, max_length=5)
    assert math.isnan(narrow.scores(["prompt"], [["answer"]])[0, 0])


def test_a_model_that_yields_nan_is_a_counted_failure(tmp_path):
    from transformers import AutoModelForSequenceClassification

    folder = save_classifier(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.score.weight.fill_(math.inf)
    model.save_pretrained(folder)
    judge = RewardModelJudge(folder)
    assert np.isnan(judge.scores(["p"], [["a", "b"]])).all()
    assert judge.stats.failures == {"not_finite": 2}


def test_the_fingerprint_follows_the_weights_and_what_changes_a_score(reward_model, tmp_path):
    other = save_classifier(tmp_path / "other", seed=1)
    prints = {
        RewardModelJudge(reward_model).fingerprint,
        RewardModelJudge(other).fingerprint,
        RewardModelJudge(reward_model, plain_format="concatenate").fingerprint,
        RewardModelJudge(reward_model, LoadOptions(dtype="bfloat16")).fingerprint,
        RewardModelJudge(reward_model, max_length=50).fingerprint,
    }
    assert len(prints) == 5
    moved = shutil.copytree(reward_model, tmp_path / "moved")
    assert RewardModelJudge(str(moved)).fingerprint == RewardModelJudge(reward_model).fingerprint
    assert RewardModelJudge(reward_model).fingerprint in prints


def test_unload_gives_the_model_back_and_it_loads_again(reward_model):
    judge = RewardModelJudge(reward_model)
    before = judge.scores(["p"], [["a"]])
    judge.unload()
    assert judge.local._loaded is None
    assert judge.scores(["p"], [["a"]]) == before
