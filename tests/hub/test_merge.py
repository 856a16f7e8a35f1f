"""The merged model equals base + adapter, also where embeddings are shared, the base is 4-bit, or the head is new."""

import json
from pathlib import Path

import pytest
import yaml

from alignkit.cli import main
from alignkit.errors import InputError
from alignkit.hub import export_adapter

from .tiny import make_tokenizer, save_adapter, save_base


# Float32 rounding of logits of size 6 is about 1e-5; leaving out the adapter moves them by more than 1e-1.
ROUNDING = 5e-5


def logits(model) -> "torch.Tensor":  # noqa: F821
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(3, 60)[None]).logits.float()


def with_adapter(base: str, adapter: Path | str):
    """Logits of base + adapter, loaded by PEFT as any user would."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter))


def loaded(folder: Path, **options):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    return model


def stored_tensors(folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def difference(a, b) -> float:
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize(
    ("changes", "head_is_stored"),
    [
        ({}, False),
        ({"target_modules": ["q_proj", "lm_head"]}, True),
        ({"target_modules": ["q_proj", "embed_tokens"]}, True),
        ({"modules_to_save": ["lm_head"]}, True),
        ({"modules_to_save": ["embed_tokens"]}, True),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, True),
        ({"target_modules": ["q_proj", "lm_head", "embed_tokens"], "ensure_weight_tying": True}, True),
        ({"trainable_token_indices": {"embed_tokens": [1, 2, 70]}}, False),
        ({"use_dora": True}, False),
        ({"use_rslora": True, "target_modules": "all-linear"}, False),
    ],
    ids=lambda value: "-".join(value) or "lora" if isinstance(value, dict) else None,
)
def test_merged_equals_base_and_adapter_with_shared_embeddings(base, tmp_path, changes, head_is_stored):
    adapter = save_adapter(base, tmp_path / "adapter", **changes)
    result = export_adapter(adapter, tmp_path / "out", merge=True)
    expected = with_adapter(base, adapter)
    merged = loaded(result.path)
    assert difference(logits(merged), expected) < ROUNDING
    assert difference(logits(loaded(Path(base))), expected) > 0.1
    assert ("lm_head.weight" in stored_tensors(result.path)) is head_is_stored
    assert merged.config.tie_word_embeddings is not head_is_stored
    assert result.merge.untied is head_is_stored
    assert 0 < result.merged_logit_difference < ROUNDING


def test_merged_equals_base_and_adapter_with_separate_embeddings(tmp_path):
    base = save_base(tmp_path / "base", tied=False)
    adapter = save_adapter(base, tmp_path / "adapter", target_modules=["v_proj", "lm_head"])
    result = export_adapter(adapter, tmp_path / "out", merge=True)
    assert difference(logits(loaded(result.path)), with_adapter(base, adapter)) < ROUNDING
    assert result.merge.untied is False


def test_merged_keeps_tokens_that_were_added_in_training(base, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.resize_token_embeddings(270)
    adapter = save_adapter(base, tmp_path / "adapter", model=model, modules_to_save=["embed_tokens", "lm_head"])
    result = export_adapter(adapter, tmp_path / "out", merge=True)
    assert loaded(result.path).config.vocab_size == 270
    assert logits(loaded(result.path)).shape[-1] == 270


def test_folder_is_a_full_model_with_tokenizer_generation_config_and_card(base, adapter, tmp_path):
    from transformers import AutoTokenizer, GenerationConfig

    result = export_adapter(adapter, tmp_path / "out", merge=True, method="dpo", base_model="Qwen/Qwen3-0.6B")
    assert set(result.files) == {
        "README.md",
        "alignkit.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert GenerationConfig.from_pretrained(result.path).temperature == 0.7
    chat = [{"role": "user", "content": "hi"}]
    tokenizer = AutoTokenizer.from_pretrained(result.path)
    assert tokenizer.apply_chat_template(chat, tokenize=False) == make_tokenizer().apply_chat_template(
        chat, tokenize=False
    )
    text = (result.path / "README.md").read_text()
    metadata = yaml.safe_load(text.split("---")[1])
    assert (metadata["library_name"], metadata["base_model"]) == ("transformers", "Qwen/Qwen3-0.6B")
    assert "Largest absolute logit difference of the merged model" in text
    facts = json.loads((result.path / "alignkit.json").read_text())
    assert facts["merge"]["merged"]["largest"] == result.merged_logit_difference
    assert result.warnings == ()


def test_weights_have_the_dtype_of_the_base_and_the_rounding_is_said(tmp_path, capsys):
    import torch

    base = save_base(tmp_path / "base", dtype="bfloat16")
    adapter = save_adapter(base, tmp_path / "adapter")
    assert main(["export", adapter, "--out", str(tmp_path / "out"), "--merge"]) == 0
    assert {tensor.dtype for tensor in stored_tensors(tmp_path / "out").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    said = capsys.readouterr().out
    assert "for the files as written (bfloat16) and loaded again" in said
    assert "at prompt" in said and "position" in said
    report = json.loads((tmp_path / "out" / "alignkit.json").read_text())["merge"]
    assert report["merged"]["largest"] < ROUNDING < report["written"]["largest"]
    exact = export_adapter(adapter, tmp_path / "exact", merge=True, dtype="float32")
    assert {tensor.dtype for tensor in stored_tensors(exact.path).values()} == {torch.float32}
    assert exact.merge.written.largest < ROUNDING


@pytest.mark.parametrize("how", ["flag", "run facts", "base saved in 4 bits"])
def test_four_bit_base_is_dequantised_and_compared_with_the_quantised_forward(base, tmp_path, how):
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
        bnb_4bit_use_double_quant=True,
    )
    quantised = AutoModelForCausalLM.from_pretrained(base, quantization_config=config, dtype=torch.float32)
    trained_on = base
    if how == "base saved in 4 bits":
        trained_on = str(tmp_path / "base4")
        quantised.save_pretrained(trained_on)
        make_tokenizer().save_pretrained(trained_on)
    adapter = Path(save_adapter(trained_on, tmp_path / "adapter"))
    if how == "run facts":
        facts = {"config": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}}
        (adapter / "alignkit_run.json").write_text(json.dumps(facts))
    result = export_adapter(adapter, tmp_path / "out", merge=True, load_in_4bit=True if how == "flag" else None)

    merged = loaded(result.path)
    assert "quantization_config" not in json.loads((result.path / "config.json").read_text())
    assert all(tensor.is_floating_point() for tensor in stored_tensors(result.path).values())
    assert result.merged_logit_difference < ROUNDING
    assert result.merge.quantised.largest < ROUNDING
    # What was merged into is the dequantised base, not the one before quantisation: they differ by the quantisation.
    weight = stored_tensors(result.path)["model.layers.0.mlp.up_proj.weight"]
    assert difference(weight, loaded(Path(base)).model.layers[0].mlp.up_proj.weight) > 1e-2
    if how != "flag":
        dequantised = quantised.dequantize(dtype=torch.float32).model.layers[0].mlp.up_proj.weight
        assert torch.equal(weight, dequantised)
    if how != "base saved in 4 bits":
        assert difference(logits(merged), with_adapter(base, adapter)) > 0.1


def test_classification_head_is_kept(base, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    def classifier():
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)

    adapter = save_adapter(base, tmp_path / "adapter", model=classifier(), task_type="SEQ_CLS")
    result = export_adapter(adapter, tmp_path / "out", merge=True)
    merged, info = AutoModelForSequenceClassification.from_pretrained(result.path, output_loading_info=True)
    assert not info["missing_keys"]
    expected = logits(PeftModel.from_pretrained(classifier(), adapter))
    assert expected.shape == (1, 1)
    assert difference(logits(merged), expected) < ROUNDING
    assert (
        yaml.safe_load((result.path / "README.md").read_text().split("---")[1])["pipeline_tag"]
        == "text-classification"
    )


def test_merge_without_a_tokenizer_compares_on_fixed_ids(base, tmp_path):
    adapter = Path(save_adapter(base, tmp_path / "adapter"))
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (bare / name).write_bytes((Path(base) / name).read_bytes())
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (adapter / name).unlink()
    result = export_adapter(adapter, tmp_path / "out", merge=True, base_model=str(bare))
    assert 0 < result.merged_logit_difference < ROUNDING
    assert "no tokenizer" in result.warnings[0]


def test_merge_that_changes_nothing_is_refused(adapter, tmp_path, monkeypatch):
    """The comparison is able to fail: a merge that forgets the adapter is caught and nothing is written."""
    from peft.tuners.lora import LoraModel

    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, *args, **kwargs: self.unload())
    with pytest.raises(InputError, match=r"does not compute what .* computes: largest absolute logit difference"):
        export_adapter(adapter, tmp_path / "out", merge=True)
    assert list(tmp_path.iterdir()) == []


def test_saving_that_loses_the_untied_head_is_refused(base, tmp_path, monkeypatch):
    from transformers import Qwen3ForCausalLM

    adapter = save_adapter(base, tmp_path / "adapter", target_modules=["lm_head"])
    save = Qwen3ForCausalLM.save_pretrained

    def save_as_if_tied(self, folder, **kwargs):
        from safetensors.torch import save_file

        self.config.tie_word_embeddings = True
        save(self, folder, **kwargs)
        tensors = {name: tensor for name, tensor in stored_tensors(folder).items() if name != "lm_head.weight"}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(Qwen3ForCausalLM, "save_pretrained", save_as_if_tied)
    with pytest.raises(InputError, match="does not survive saving and loading"):
        export_adapter(adapter, tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()


def test_base_of_another_size_is_refused(adapter, tmp_path):
    from .tiny import make_model

    make_model(hidden_size=32).save_pretrained(tmp_path / "small")
    with pytest.raises(InputError, match="does not fit the base model"):
        export_adapter(adapter, tmp_path / "out", merge=True, base_model=str(tmp_path / "small"))


def test_base_that_cannot_be_loaded_is_named(base, tmp_path):
    adapter = Path(save_adapter(base, tmp_path / "adapter"))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "nobody/nothing"}))
    with pytest.raises(InputError, match="'nobody/nothing' cannot be loaded, and merging needs it"):
        export_adapter(adapter, tmp_path / "out", merge=True)


def test_prompt_tuning_and_full_models_cannot_be_merged(base, tmp_path):
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    )
    tuned.save_pretrained(tmp_path / "prompts")
    with pytest.raises(InputError, match="PROMPT_TUNING"):
        export_adapter(tmp_path / "prompts", tmp_path / "out", merge=True)
    with pytest.raises(InputError, match="is a full model"):
        export_adapter(base, tmp_path / "out", merge=True)
