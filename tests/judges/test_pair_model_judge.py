"""The pairwise-model judge: symmetrised, its position bias measured, in its three shapes."""

import math

import pytest
import torch
from tiny_judges import save_classifier
from tiny_qwen import save_model

from alignkit.errors import InputError
from alignkit.judges import PairModelJudge


TEMPLATE = "{prompt}|{first}|{second}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("pair_models")
    return {
        "one": save_classifier(root / "one", num_labels=1),
        "two": save_classifier(root / "two", num_labels=2),
        "causal": save_model(root / "causal"),
    }


def logit(folder: str, shape: str, text: str) -> float:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    kind = AutoModelForCausalLM if shape == "causal" else AutoModelForSequenceClassification
    with torch.no_grad():
        logits = kind.from_pretrained(folder, dtype=torch.float32).eval()(input_ids=ids).logits[0]
    if shape == "causal":
        first, second = tokenizer.convert_tokens_to_ids(["A", "B"])
        return float(logits[-1, first] - logits[-1, second])
    return float(logits[0]) if shape == "one" else float(logits[0] - logits[1])


@pytest.mark.parametrize("shape", ["one", "two", "causal"])
def test_preferences_are_the_symmetrised_sigmoid_and_the_bias_is_measured(folders, shape):
    architecture = "causal_lm" if shape == "causal" else "sequence_classification"
    judge = PairModelJudge(folders[shape], TEMPLATE, architecture)
    preferences = judge.judge(["p", "question"], [["a", "bcd", "a longer answer"], ["x", "x", "yy"]])

    def sigma(text: str) -> float:
        return 1 / (1 + math.exp(-logit(folders[shape], shape, text)))

    forward, backward = sigma("p|a|bcd"), sigma("p|bcd|a")
    assert preferences[0, 0, 1] == pytest.approx((forward + 1 - backward) / 2, abs=1e-5)
    assert preferences[0, 1, 0] == pytest.approx(1 - preferences[0, 0, 1])
    assert preferences[1, 0, 1] == 0.5  # the same text twice
    assert preferences[0].diagonal().tolist() == [0.5] * 3

    alone = PairModelJudge(folders[shape], TEMPLATE, architecture)
    alone.compare("p", "a", "bcd")
    bias = alone.stats.to_dict()["position_bias"]
    assert bias["pairs"] == 1 and bias["bias"] == pytest.approx((forward + backward) / 2 - 0.5, abs=1e-5)
    assert abs(bias["bias"]) > 1e-4
    once = PairModelJudge(folders[shape], TEMPLATE, architecture, both_orders=False)
    assert once.compare("p", "a", "bcd") == pytest.approx(forward, abs=1e-5)
    assert once.fingerprint != alone.fingerprint and once.stats.to_dict()["position_bias"] is None


def test_scores_are_refused_and_too_long_pairs_are_nan(folders):
    judge = PairModelJudge(folders["one"], TEMPLATE)
    with pytest.raises(TypeError, match="no scores"):
        judge.scores(["p"], [["a", "b"]])
    assert math.isnan(judge.compare("p", "a", "b" * 200))
    assert judge.stats.failures == {"too_long": 2}


def test_the_chat_template_may_wrap_the_question(folders):
    judge = PairModelJudge(folders["one"], TEMPLATE, chat=True, both_orders=False)
    expected = logit(folders["one"], "one", "<|user|>p|a|b<|assistant|>")
    assert judge.compare("p", "a", "b") == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-5)


def test_bad_settings_are_named(folders, tmp_path):
    with pytest.raises(InputError, match=r"lacks the field \{second\}"):
        PairModelJudge(folders["one"], "{prompt} {first}")
    with pytest.raises(InputError, match="architecture"):
        PairModelJudge(folders["one"], architecture="encoder")
    with pytest.raises(InputError, match="2 tokens"):
        PairModelJudge(folders["causal"], TEMPLATE, "causal_lm", labels=("AB", "B")).compare("p", "a", "b")
    three = save_classifier(tmp_path / "three", num_labels=3)
    with pytest.raises(InputError, match="3 outputs"):
        PairModelJudge(three).compare("p", "a", "b")
