"""PairRM on a tiny random DeBERTa: the tokens and the head of the published model, symmetrised."""

import json
import math
import shutil

import pytest
import torch

from alignkit.errors import InputError
from alignkit.judges import PairRMJudge, load_judge


LETTERS = "abcdefghijklmnopqrstuvwxyz ?."
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "<|source|>", "<|candidate|>", "<|candidate1|>", "<|candidate2|>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    """A PairRM in the form of `llm-blender/PairRM-hf`: random weights, one token per letter."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import DebertaV2Config, PreTrainedTokenizerFast

    from alignkit.judges.pairrm_model import PairRMModel

    path = str(tmp_path_factory.mktemp("pairrm"))
    vocabulary = {token: place for place, token in enumerate([*SPECIAL, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "extra_special_tokens": SPECIAL[3:]}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(path)
    torch.manual_seed(3)
    config = DebertaV2Config(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        position_biased_input=False,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        initializer_range=0.4,
        n_tasks=1,
        drop_out=0.05,
        source_prefix_id=vocabulary["<|source|>"],
        cand_prefix_id=vocabulary["<|candidate|>"],
        cand1_prefix_id=vocabulary["<|candidate1|>"],
        cand2_prefix_id=vocabulary["<|candidate2|>"],
    )
    PairRMModel(config).save_pretrained(path)
    return path


def logit(folder: str, prompt: str, first: str, second: str) -> float:
    """The published computation, from the weights by their published names."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, DebertaV2Config, DebertaV2Model

    weights = load_file(f"{folder}/model.safetensors")
    encoder = DebertaV2Model(DebertaV2Config.from_pretrained(folder)).eval()
    prefix = "pretrained_model."
    encoder.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)})
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = []
    for text in (f"<|source|>{prompt}", f"<|candidate1|>{first}", f"<|candidate2|>{second}"):
        ids += tokenizer.encode(text)
    assert tokenizer.convert_ids_to_tokens(ids[:2]) == ["[CLS]", "<|source|>"]
    with torch.no_grad():
        states = encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
        source, one, two = (
            states[ids.index(SPECIAL.index(f"<|{name}|>"))] for name in ("source", "candidate1", "candidate2")
        )

        def score(candidate):
            hidden = torch.tanh(
                weights["head_layer.1.weight"] @ torch.cat([source, candidate]) + weights["head_layer.1.bias"]
            )
            return weights["head_layer.4.weight"] @ hidden + weights["head_layer.4.bias"]

        return float(score(one) - score(two))


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_preferences_are_those_of_the_published_computation_in_both_orders(folder):
    judge = PairRMJudge(folder)
    preferences = judge.judge(["which", "how long is it?"], [["a", "bcd", "a longer answer"], ["x", "x", "yy"]])
    for n, prompt, group in ((0, "which", ["a", "bcd", "a longer answer"]), (1, "how long is it?", ["x", "x", "yy"])):
        for i, j in ((0, 1), (1, 0), (0, 2), (1, 2)):
            forward, backward = logit(folder, prompt, group[i], group[j]), logit(folder, prompt, group[j], group[i])
            expected = 0.5 if group[i] == group[j] else (sigma(forward) + 1 - sigma(backward)) / 2
            assert preferences[n, i, j] == pytest.approx(expected, abs=1e-5)
    assert abs(preferences[0, 0, 1] - 0.5) > 1e-3
    assert judge.stats.to_dict()["position_bias"]["pairs"] == 5


def test_a_name_with_its_kind_gives_the_judge(folder):
    judge = load_judge(f"pairrm:{folder}", {"batch_size": 2})
    assert isinstance(judge, PairRMJudge) and judge.local.options.batch_size == 2
    assert judge.fingerprint == PairRMJudge(folder).fingerprint


def test_what_cannot_be_read_whole_or_as_it_is_is_nan_and_counted(folder):
    judge = PairRMJudge(folder, max_length=32)
    values = judge.compare_batch(["p", "p", "p"], ["a", "b" * 40, "a <|candidate2|> b"], ["b", "c", "c"])
    assert math.isfinite(values[0]) and all(map(math.isnan, values[1:]))
    assert judge.stats.failures == {"too_long": 2, "special_token": 2}


def test_a_model_that_is_no_pairrm_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    del config["cand1_prefix_id"]
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="is no PairRM.*cand1_prefix_id"):
        PairRMJudge(str(tmp_path / "other")).compare("p", "a", "b")
    with pytest.raises(InputError, match="takes no adapter"):
        load_judge(f"pairrm:{folder}", {"load_in_4bit": True}).compare("p", "a", "b")


def test_weights_that_are_not_whole_are_refused_not_drawn_at_random(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, tmp_path / "cut")
    weights = load_file(tmp_path / "cut" / "model.safetensors")
    del weights["head_layer.4.weight"]
    save_file(weights, tmp_path / "cut" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lack head_layer\.4\.weight"):
        PairRMJudge(str(tmp_path / "cut")).compare("p", "a", "b")
