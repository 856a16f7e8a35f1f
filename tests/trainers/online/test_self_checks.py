"""The self-checks say what they found, warn of what is wrong, and change nothing."""

import pytest
import torch
from model_weights import largest_difference
from online_worker import build, run

from alignkit.trainers import self_checks


def task(model, folder, lora=False, **config):
    return {
        "model": model,
        "key": "online",
        "output_dir": str(folder),
        "lora": lora,
        "config": {"max_steps": 1, **config},
    }


def findings(trainer):
    return {finding.name: finding for finding in trainer.findings}


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_healthy_run_passes_every_check(bundled_model_dir, tmp_path, caplog, lora):
    caplog.set_level("INFO")
    found = findings(run(task(bundled_model_dir, tmp_path, lora, beta=0.1)))
    assert all(finding.ok for finding in found.values()), found
    assert list(found) == ["sampler", *(["adapter"] if lora else []), "reference", "reward reward", "signal"]
    assert "agree on log-probabilities to" in found["sampler"].sentence
    assert "0.0e+00 nats away" in found["reference"].sentence
    if lora:
        assert "exactly zero" in found["adapter"].sentence and "adapter switched off" in found["reference"].sentence
    assert caplog.text.count("Self-check, ") == len(found)


def test_the_checks_change_neither_weights_nor_samples(bundled_model_dir, tmp_path):
    with_checks = run(task(bundled_model_dir, tmp_path, max_steps=2))
    without = run(task(bundled_model_dir, tmp_path, max_steps=2, self_checks=False))
    assert largest_difference(with_checks.model, without.model) == 0.0 and without.findings is None


def test_a_trained_adapter_is_found_live(bundled_model_dir, tmp_path):
    trainer = run(task(bundled_model_dir, tmp_path, True, max_steps=2))
    probe = {name: value for name, value in trainer._buffered_inputs[0].items() if value.dim() > 0}
    (finding,) = self_checks.check_adapter(trainer, probe)
    assert finding.ok and "it is live" in finding.sentence


def test_an_adapter_outside_the_forward_pass_is_found(bundled_model_dir, tmp_path, monkeypatch):
    trainer = run(task(bundled_model_dir, tmp_path, True, max_steps=2))
    probe = {name: value for name, value in trainer._buffered_inputs[0].items() if value.dim() > 0}
    constant = trainer._token_logps(probe)
    monkeypatch.setattr(trainer, "_token_logps", lambda output: constant)
    (finding,) = self_checks.check_adapter(trainer, probe)
    assert not finding.ok and "not in the forward pass" in finding.sentence
    for parameter in trainer.model.parameters():
        parameter.requires_grad = False
    (finding,) = self_checks.check_adapter(trainer, probe)
    assert not finding.ok and "no parameter" in finding.sentence


def test_a_reference_that_is_not_the_start_is_found(bundled_model_dir, tmp_path, caplog):
    trainer = build(task(bundled_model_dir, tmp_path, beta=0.1))
    with torch.no_grad():
        for parameter in trainer.ref_model.parameters():
            parameter.mul_(1.2)
    trainer.train()
    finding = findings(trainer)["reference"]
    assert not finding.ok and "is it the model you meant" in finding.sentence
    assert any(record.levelname == "WARNING" and "reference" in record.message for record in caplog.records)


def test_a_sampler_that_differs_from_training_is_found(bundled_model_dir, tmp_path, monkeypatch):
    trainer = build(task(bundled_model_dir, tmp_path))
    exact = trainer._token_logps
    monkeypatch.setattr(trainer, "_token_logps", lambda output: exact(output) + 0.1)
    trainer.train()
    finding = findings(trainer)["sampler"]
    assert not finding.ok and "differ by 0.1 nats" in finding.sentence


def test_unscored_completions_and_groups_without_signal_are_told(bundled_model_dir, tmp_path):
    def silent(completions, **columns):
        return [None] * len(completions)

    def flat(completions, **columns):
        return [0.5] * len(completions)

    found = findings(run(task(bundled_model_dir, tmp_path), reward_funcs=[silent, flat]))
    assert not found["reward silent"].ok and "scored none of 8" in found["reward silent"].sentence
    assert found["reward flat"].ok
    assert not found["signal"].ok and "in 2 of 2 groups" in found["signal"].sentence
