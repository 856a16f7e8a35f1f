"""Trainers and the cache: a second run computes nothing, a changed one computes what changed, and all get the same."""

import json
import signal
from pathlib import Path

import pytest
import torch
from launched_runs import launch
from reference_worker import run

from alignkit import DPOConfig, DPOTrainer, INPOConfig, INPOTrainer
from alignkit.trainers.reference_cache import module_fingerprint, row_fingerprints, source_fingerprint


WORKER = Path(__file__).with_name("reference_worker.py")


@pytest.fixture(scope="module")
def few():
    from alignkit.data import load

    return load("bundled/preference_scored", split="train[:12]")


@pytest.fixture
def build(bundled_model_dir, few, tmp_path):
    """A DPO trainer on the bundled model whose reference is precomputed, with a cache of the test's own."""
    from peft import LoraConfig

    def made(data=few, lora=False, trainer_class=DPOTrainer, config_class=DPOConfig, **changed):
        settings = {
            "output_dir": str(tmp_path / "out"),
            "per_device_train_batch_size": 4,
            "report_to": "none",
            "bf16": False,
            "use_cpu": True,
            "disable_tqdm": True,
            "max_length": 256,
            "precompute_ref_log_probs": True,
            "reference_cache_dir": str(tmp_path / "cache"),
        }
        adapter = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM") if lora else None
        config = config_class(**{**settings, **changed})
        return trainer_class(bundled_model_dir, args=config, train_dataset=data, peft_config=adapter)

    return made


@pytest.fixture
def passes(monkeypatch):
    """Number of pairs of every reference pass, in order."""
    counted = []
    original = DPOTrainer.compute_ref_log_probs

    def counting(self, model, inputs):
        counted.append(len(inputs["input_ids"]) // 2)
        return original(self, model, inputs)

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", counting)
    return counted


def references(trainer):
    return trainer.train_dataset["ref_chosen_logps"][:], trainer.train_dataset["ref_rejected_logps"][:]


def test_a_second_run_reads_what_the_first_computed_and_lora_shares_it(build, passes):
    first = build()
    assert passes == [4, 4, 4]
    assert references(build()) == references(build(lora=True)) == references(first)
    assert passes == [4, 4, 4]


def test_only_rows_that_are_new_are_computed(build, few, passes):
    whole = references(build(reference_cache_dir=""))
    passes.clear()
    build(few.select([8, 1, 5]))
    trainer = build()
    assert sum(passes) == 3 + 9
    assert torch.allclose(torch.tensor(references(trainer)), torch.tensor(whole), atol=1e-5)


@pytest.mark.parametrize("changed", [{"max_length": 200}, {"ld_alpha": 0.5}, {"truncation_mode": "keep_end"}])
def test_another_computation_is_another_entry(build, passes, changed):
    build()
    build(**changed)
    assert sum(passes) == 24


def test_an_empty_folder_name_switches_the_cache_off(build, passes, tmp_path):
    build(reference_cache_dir="")
    build(reference_cache_dir="")
    assert sum(passes) == 24
    assert not (tmp_path / "cache").exists()


def test_an_interrupted_pass_keeps_what_it_has_computed(build, monkeypatch, passes):
    counting = DPOTrainer.compute_ref_log_probs

    def interrupted(self, model, inputs):
        if len(passes) == 2:
            raise KeyboardInterrupt
        return counting(self, model, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(DPOTrainer, "compute_ref_log_probs", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build()
    build()
    assert passes == [4, 4, 4]


def test_a_frozen_reference_whose_rows_are_known_is_not_loaded(build, monkeypatch, bundled_model_dir):
    given = {
        "trainer_class": INPOTrainer,
        "config_class": INPOConfig,
        "reference_model": bundled_model_dir,
        "eta": 0.1,
    }
    first = build(**given)
    monkeypatch.setattr("alignkit.trainers.preference.frozen.load_frozen_model", None)
    again = build(**given)
    for side in ("chosen", "rejected"):
        assert again.train_dataset[f"fixed_{side}_logps"][:] == first.train_dataset[f"fixed_{side}_logps"][:]
        assert first.train_dataset[f"fixed_{side}_logps"][:] == first.train_dataset[f"ref_{side}_logps"][:]


def test_a_changed_weight_is_another_model(bundled_model_dir, tmp_path):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bundled_model_dir)
    before = module_fingerprint(model)
    model.save_pretrained(tmp_path / "same")
    on_disk = source_fingerprint(str(tmp_path / "same"))
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3
    model.save_pretrained(tmp_path / "other")
    assert module_fingerprint(model) != before
    assert source_fingerprint(str(tmp_path / "other")) != on_disk
    assert module_fingerprint(model.to(torch.bfloat16)) != before


def test_an_adapter_is_known_by_its_weights_its_scale_and_its_base(bundled_model_dir, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def saved(name, **config):
        torch.manual_seed(0)
        base = AutoModelForCausalLM.from_pretrained(bundled_model_dir)
        model = get_peft_model(base, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **config))
        model.save_pretrained(tmp_path / name)
        return module_fingerprint(model), module_fingerprint(model, kept=("default",))

    base, policy = saved("one")
    assert saved("two") == (base, policy)
    assert saved("scaled", lora_alpha=64)[0] == base != policy != saved("scaled", lora_alpha=64)[1]
    one, two, scaled = (source_fingerprint(str(tmp_path / name)) for name in ("one", "two", "scaled"))
    assert one == two != scaled


def test_rows_are_known_by_all_their_tokens(few):
    from datasets import Dataset

    def rows(**columns):
        return row_fingerprints(Dataset.from_dict(columns))

    first = rows(prompt_ids=[[1, 2]], chosen_ids=[[3]], rejected_ids=[[4]], margin=[1.0])
    assert first == rows(prompt_ids=[[1, 2]], chosen_ids=[[3]], rejected_ids=[[4]], margin=[2.0])
    assert first != rows(prompt_ids=[[1]], chosen_ids=[[2, 3]], rejected_ids=[[4]], margin=[1.0])
    assert first != rows(prompt_ids=[[1, 2]], chosen_ids=[[4]], rejected_ids=[[3]], margin=[1.0])


@pytest.mark.slow
def test_two_processes_agree_with_one_and_share_its_cache(bundled_model_dir, tmp_path):
    one = run({"model": bundled_model_dir, "cache": str(tmp_path / "one")})
    task = {"model": bundled_model_dir, "cache": str(tmp_path / "two"), "out": str(tmp_path / "two.json")}
    done = launch(WORKER, task, processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    two = json.loads((tmp_path / "two.json").read_text())
    assert two["chosen"] == pytest.approx(one["chosen"], abs=1e-5)
    again = run(task)
    assert again["computed"] == 0 < two["computed"]
    assert again["chosen"] == two["chosen"]


@pytest.mark.slow
def test_a_kill_loses_at_most_one_shard(bundled_model_dir, tmp_path):
    task = {"model": bundled_model_dir, "cache": str(tmp_path / "cache")}
    killed = launch(WORKER, {**task, "shard_rows": 8, "kill_after": 20})
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert run(task)["computed"] == 24 - 16
