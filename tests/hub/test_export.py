"""The exported adapter folder: what is in it, what is not, and that it loads and computes the same."""

import json
import re
from pathlib import Path

import pytest
import yaml

import alignkit
from alignkit.cli import main
from alignkit.hub import export_adapter

from .tiny import CHAT_TEMPLATE, make_model, make_tokenizer, save_adapter


RUN = {
    "method": "dpo",
    "alignkit_version": "0.1.0",
    "versions": {"trl": "1.16.0", "torch": "2.13.0"},
    "model_name_or_path": "Qwen/Qwen3-0.6B",
    "model_revision": "main",
    "dataset": ["trl-lib/ultrafeedback_binarized", "/home/someone/pairs.jsonl"],
    "config": {
        "beta": 0.05,
        "output_dir": "/home/someone/run",
        "hub_token": "hf_secret",
        "pad_token": "<|endoftext|>",
        "reward_model": "/home/someone/models/rm",
    },
    "seed": 7,
}


@pytest.fixture
def run_folder(base, tmp_path) -> Path:
    """A run's output folder: its facts, and two checkpoints, the newer with a reference adapter in it."""
    folder = tmp_path / "run"
    for step in (9, 10):
        save_adapter(base, folder / f"checkpoint-{step}", as_checkpoint=True)
    save_adapter(base, folder / "checkpoint-10" / "ref")
    (folder / "alignkit_run.json").write_text(json.dumps(RUN))
    return folder


def card_metadata(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


def code_blocks(folder: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)


def test_export_holds_what_the_hub_expects_and_nothing_else(run_folder, tmp_path):
    result = export_adapter(run_folder, tmp_path / "out")
    assert result.kind == "adapter"
    assert set(result.files) == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "alignkit.json",
        "chat_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    source = run_folder / "checkpoint-10"
    for name in ("adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (result.path / name).read_bytes() == (source / name).read_bytes()
    assert not list(tmp_path.glob("out.*"))


def test_newest_checkpoint_is_taken_by_number_and_said(run_folder, tmp_path):
    result = export_adapter(run_folder, tmp_path / "out")
    assert result.source == run_folder / "checkpoint-10"
    assert "checkpoint-10, its newest complete checkpoint, was taken" in result.notes[0]


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_incomplete_newest_checkpoint_is_passed_over_and_said(run_folder, tmp_path, damage):
    weights = run_folder / "checkpoint-10" / "adapter_model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        weights.unlink()
    result = export_adapter(run_folder, tmp_path / "out")
    assert result.source == run_folder / "checkpoint-9"
    assert "1 newer one passed over" in result.notes[0] and "checkpoint-10" in result.notes[0]


def test_final_model_is_taken_before_its_checkpoints(base, run_folder, tmp_path):
    save_adapter(base, run_folder)
    result = export_adapter(run_folder, tmp_path / "out")
    assert result.source == run_folder
    assert result.notes == ()


def test_named_checkpoint_takes_its_facts_from_the_run(run_folder, tmp_path):
    result = export_adapter(run_folder / "checkpoint-9", tmp_path / "out")
    assert result.base_model == "Qwen/Qwen3-0.6B"
    assert card_metadata(result.path)["base_model"] == "Qwen/Qwen3-0.6B"


def test_card_metadata(run_folder, tmp_path):
    result = export_adapter(run_folder, tmp_path / "out", license_name="apache-2.0")
    metadata = card_metadata(result.path)
    assert metadata["library_name"] == "peft"
    assert metadata["pipeline_tag"] == "text-generation"
    assert metadata["license"] == "apache-2.0"
    assert metadata["datasets"] == ["trl-lib/ultrafeedback_binarized"]
    assert metadata["tags"] == ["alignkit", "trl", "dpo", "lora", "arxiv:2305.18290"]


def test_unknown_licence_is_left_out(run_folder, tmp_path):
    assert "license" not in card_metadata(export_adapter(run_folder, tmp_path / "out").path)


def test_card_names_paper_citation_configuration_and_versions(run_folder, tmp_path):
    text = (export_adapter(run_folder, tmp_path / "out").path / "README.md").read_text()
    assert "https://arxiv.org/abs/2305.18290" in text
    assert "@inproceedings{rafailov2023direct," in text
    assert "| beta | `0.05` |" in text
    assert "| seed | `7` |" in text
    assert "12 steps, 0.5 epochs" in text
    assert "- trl 1.16.0" in text and "Versions of the run" in text
    assert "- [trl-lib/ultrafeedback_binarized]" in text and "- `pairs.jsonl`" in text


def test_no_secret_and_no_path_of_the_machine_is_published(run_folder, tmp_path):
    export = export_adapter(run_folder, tmp_path / "out").path
    for path in export.iterdir():
        content = path.read_bytes()
        for trace in (b"hf_secret", b"someone", str(tmp_path).encode()):
            assert trace not in content, f"{trace!r} in {path.name}"
    # What only looks like a secret stays.
    assert json.loads((export / "alignkit.json").read_text())["run"]["config"] == {
        "beta": 0.05,
        "pad_token": "<|endoftext|>",
        "reward_model": "rm",
    }


def test_adapter_config_has_the_trained_name_and_is_the_same_each_time(run_folder, tmp_path):
    config_path = run_folder / "checkpoint-10" / "adapter_config.json"
    config = json.loads(config_path.read_text())
    config_path.write_text(
        json.dumps({**config, "target_modules": config["target_modules"][::-1], "revision": "main"})
    )
    first = export_adapter(run_folder, tmp_path / "a").path / "adapter_config.json"
    config_path.write_text(json.dumps(config))
    second = export_adapter(run_folder, tmp_path / "b").path / "adapter_config.json"
    assert first.read_bytes() == second.read_bytes()
    published = json.loads(first.read_text())
    assert published["base_model_name_or_path"] == "Qwen/Qwen3-0.6B"
    assert published["revision"] is None
    assert published["target_modules"] == ["down_proj", "q_proj", "v_proj"]


def test_tokenizer_config_loses_the_traces_of_a_local_load(run_folder, tmp_path):
    assert "is_local" in json.loads((run_folder / "checkpoint-10" / "tokenizer_config.json").read_text())
    config = json.loads((export_adapter(run_folder, tmp_path / "out").path / "tokenizer_config.json").read_text())
    assert not {"is_local", "local_files_only", "name_or_path"} & set(config)
    assert config["eos_token"] == "<|im_end|>"


def test_inline_chat_template_gets_its_own_file(base, adapter, tmp_path):
    folder = Path(save_adapter(base, tmp_path / "adapter"))
    (folder / "chat_template.jinja").unlink()
    config_path = folder / "tokenizer_config.json"
    config_path.write_text(json.dumps({**json.loads(config_path.read_text()), "chat_template": CHAT_TEMPLATE}))
    result = export_adapter(folder, tmp_path / "out")
    assert (result.path / "chat_template.jinja").read_text() == CHAT_TEMPLATE


def test_given_base_and_revision_win_and_local_base_is_warned_of(adapter, base, tmp_path):
    local = export_adapter(adapter, tmp_path / "local")
    assert local.base_model == base
    assert "local path" in local.warnings[0] and "--base_model" in local.warnings[0]
    assert "base_model" not in card_metadata(local.path)
    assert base not in (local.path / "README.md").read_text()
    named = export_adapter(adapter, tmp_path / "named", base_model="Qwen/Qwen3-0.6B", base_revision="c1899de289a04d12")
    config = json.loads((named.path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("Qwen/Qwen3-0.6B", "c1899de289a04d12")
    assert named.warnings == ()


def test_path_into_the_hub_cache_becomes_name_and_commit(adapter, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    path = f"/root/.cache/huggingface/hub/models--Qwen--Qwen3-0.6B/snapshots/{commit}"
    result = export_adapter(adapter, tmp_path / "out", base_model=path)
    assert (result.base_model, result.base_revision) == ("Qwen/Qwen3-0.6B", commit)
    assert result.warnings == ()


def test_plain_trl_checkpoint_exports_without_a_run_file(adapter, tmp_path):
    text = (export_adapter(adapter, tmp_path / "out").path / "README.md").read_text()
    assert "Not recorded." in text
    assert "at export (the run's are not recorded)" in text


def test_method_can_be_named_but_not_contradicted(adapter, run_folder, tmp_path, capsys):
    assert main(["export", str(adapter), "--out", str(tmp_path / "a"), "--method", "madpo"]) == 0
    assert "madpo" in card_metadata(tmp_path / "a")["tags"]
    assert main(["export", str(adapter), "--out", str(tmp_path / "b"), "--method", "madppo"]) == 2
    assert "did you mean madpo" in capsys.readouterr().err
    assert main(["export", str(run_folder), "--out", str(tmp_path / "c"), "--method", "madpo"]) == 2
    assert "recorded as 'dpo'" in capsys.readouterr().err
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()


def test_composition_cites_the_papers_of_its_parts(run_folder, tmp_path):
    facts = {**RUN, "method": "online", "config": {"advantage": {"name": "madpo"}, "source": {"name": "unlisted"}}}
    (run_folder / "alignkit_run.json").write_text(json.dumps(facts))
    text = (export_adapter(run_folder, tmp_path / "out").path / "README.md").read_text()
    assert "https://arxiv.org/abs/2510.05342" in text


def test_examples_of_the_card_run_and_agree_with_the_trained_adapter(adapter, base, tmp_path, monkeypatch):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    export_adapter(adapter, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    ids = torch.arange(3, 40)[None]
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)(ids).logits
    plain = AutoModelForCausalLM.from_pretrained(base)(ids).logits
    assert not torch.allclose(expected, plain, atol=1e-2)
    blocks = code_blocks(tmp_path / "mine")
    assert len(blocks) == 2
    for block in blocks:
        scope: dict = {}
        exec(block, scope)
        torch.testing.assert_close(scope["model"](ids).logits, expected, rtol=0, atol=1e-5)
        chat = [{"role": "user", "content": "hi"}]
        assert scope["tokenizer"].apply_chat_template(chat, tokenize=False) == make_tokenizer().apply_chat_template(
            chat, tokenize=False
        )


def test_full_model_is_exported_as_it_is(tmp_path, base):
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "trained"
    make_model().save_pretrained(folder, max_shard_size="100KB")
    make_tokenizer().save_pretrained(folder)
    (folder / "optimizer.pt").write_bytes(b"x")
    (folder / "training_args.bin").write_bytes(b"x")
    result = export_adapter(folder, tmp_path / "out", base_model="Qwen/Qwen3-0.6B", method="dpo")
    assert result.kind == "model"
    assert not {"optimizer.pt", "training_args.bin"} & set(result.files)
    assert sum(name.endswith(".safetensors") for name in result.files) > 1
    metadata = card_metadata(result.path)
    assert (metadata["library_name"], metadata["base_model"]) == ("transformers", "Qwen/Qwen3-0.6B")
    ids = torch.arange(3, 40)[None]
    loaded = AutoModelForCausalLM.from_pretrained(result.path)
    assert torch.equal(loaded(ids).logits, AutoModelForCausalLM.from_pretrained(folder)(ids).logits)


def test_export_of_an_export_keeps_its_facts(run_folder, tmp_path):
    first = export_adapter(run_folder, tmp_path / "a").path
    second = export_adapter(first, tmp_path / "b").path
    assert (first / "adapter_config.json").read_bytes() == (second / "adapter_config.json").read_bytes()
    facts = [json.loads((folder / "alignkit.json").read_text()) for folder in (first, second)]
    assert facts[0] == facts[1]


def test_bundled_model_round_trip(tmp_path, capsys):
    """An adapter on the bundled model: PEFT alone loads the export, and the card's examples do."""
    files = Path(alignkit.__file__).parent / "data" / "bundled_files" / "model"
    if not (files / "model.safetensors").exists():
        pytest.skip("the bundled model is not there yet")
    from peft import AutoPeftModelForCausalLM

    from alignkit.data.bundled import resolve_model

    base = resolve_model("bundled/tiny-math")
    run = tmp_path / "run"
    save_adapter(base, run)
    (run / "alignkit_run.json").write_text(json.dumps({"method": "dpo", "model_name_or_path": "bundled/tiny-math"}))
    assert main(["export", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "ships with alignkit" in capsys.readouterr().err
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base
    AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    for block in code_blocks(tmp_path / "out"):
        exec(block.replace('"out"', repr(str(tmp_path / "out"))), {})
    assert main(["export", str(tmp_path / "out"), "--out", str(tmp_path / "merged"), "--merge"]) == 0
    assert "Largest absolute logit difference" in capsys.readouterr().out
