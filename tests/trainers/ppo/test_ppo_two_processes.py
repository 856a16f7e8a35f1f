"""One global batch gives one set of advantages and returns, whether one process holds it or two."""

import json
from pathlib import Path

import pytest
import torch
from launched_runs import launch
from same_batch_worker import run
from shaken import shake


WORKER = Path(__file__).parents[1] / "online" / "same_batch_worker.py"


def flat(values):
    return [item for row in values for item in row]


def test_two_processes_whiten_and_estimate_as_one(bundled_model_dir, tmp_path):
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    critic, dpo = tmp_path / "critic", tmp_path / "dpo"
    torch.manual_seed(0)  # the new score head
    scorer = AutoModelForSequenceClassification.from_pretrained(bundled_model_dir, num_labels=1)
    scorer.save_pretrained(critic)
    model = AutoModelForCausalLM.from_pretrained(bundled_model_dir)
    shake(model, 0.05, only="down_proj")
    model.save_pretrained(dpo)
    AutoTokenizer.from_pretrained(bundled_model_dir).save_pretrained(dpo)
    shared = {"critic_model_name_or_path": str(critic), "num_generations": 1, "kl_coef": 0.1}
    configs = {"gae": shared, "rto": {**shared, "dpo_model": str(dpo)}}
    task = {"model": bundled_model_dir, "names": list(configs), "config": configs}
    task["methods"] = {"gae": "ppo", "rto": "rto"}
    alone = run({**task, "file": str(tmp_path / "one.json")})
    finished = launch(WORKER, {**task, "file": str(tmp_path / "two.json")}, processes=2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    together = json.loads((tmp_path / "two.json").read_text())
    for name, tensors in alone.items():
        assert set(tensors) == {"advantages", "returns"}
        for key, values in tensors.items():
            assert flat(together[name][key]) == pytest.approx(flat(values), abs=1e-5), (name, key)
            assert any(flat(values)), (name, key)
    assert flat(alone["gae"]["advantages"]) != pytest.approx(flat(alone["rto"]["advantages"]), abs=1e-3)
