"""DCPO in training: log-probabilities at another temperature, the measured entropy, an exact resume."""

from pathlib import Path

import pytest
import torch
from launched_runs import assert_equal_weights
from model_weights import largest_difference
from online_worker import build, run

from alignkit.parts.advantages.dcpo import DCPOAdvantages


def task_of(model, folder, config=None, **changes):
    return {"model": model, "key": "dcpo", "output_dir": str(folder), "config": config or {}, **changes}


def direct_logps(trainer, output, temperature):
    """One completion at a time, without padding, through the model's own logits."""
    rows = []
    for prompt, kept, ids, written in zip(
        output["prompt_ids"], output["prompt_mask"], output["completion_ids"], output["completion_mask"], strict=True
    ):
        prompt, ids = prompt[kept.bool()], ids[written.bool()]
        with torch.no_grad():
            logits = trainer.model(input_ids=torch.cat([prompt, ids])[None]).logits[0, len(prompt) - 1 : -1]
        rows.append((logits / temperature).log_softmax(-1)[torch.arange(len(ids)), ids])
    return torch.cat(rows)


@pytest.mark.parametrize("lora", [False, True])
def test_tempered_log_probabilities_are_those_of_the_scaled_logits(bundled_model_dir, tmp_path, lora):
    config = {"temperature": 0.9, "per_device_train_batch_size": 3, "num_generations": 3, "self_checks": False}
    trainer = build(task_of(bundled_model_dir, tmp_path, config, lora=lora))
    if lora:  # an adapter starts as the identity
        for name, parameter in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    output = trainer._generate_and_score_completions([trainer.train_dataset[0]] * 3)
    mask = output["completion_mask"].bool()
    assert not mask.all()
    at_one, hot = (trainer._tempered_logps(output, temperature)[mask] for temperature in (1.0, 1.5))
    torch.testing.assert_close(at_one, output["old_per_token_logps"][mask], atol=1e-4, rtol=0)
    torch.testing.assert_close(at_one, direct_logps(trainer, output, 0.9), atol=1e-4, rtol=0)
    torch.testing.assert_close(hot, direct_logps(trainer, output, 0.9 * 1.5), atol=1e-4, rtol=0)
    assert (hot - at_one).abs().max() > 0.05
    if lora:
        with trainer.model.disable_adapter():
            assert (direct_logps(trainer, output, 0.9) - at_one).abs().max() > 0.01


def test_the_entropy_that_it_steers_by_is_that_of_the_last_updates(bundled_model_dir, tmp_path, monkeypatch):
    seen, observe = [], DCPOAdvantages.observe

    def watched(self, batch):
        seen.append(-batch.logps.detach()[batch.mask])
        observe(self, batch)

    monkeypatch.setattr(DCPOAdvantages, "observe", watched)
    config = {"max_steps": 4, "num_iterations": 2}
    trainer = run(task_of(bundled_model_dir, tmp_path, config))
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert logs[2]["dcpo/entropy"] == pytest.approx(torch.cat(seen[:2]).mean().item(), rel=1e-5)
    assert logs[0]["dcpo/entropy"] == pytest.approx(seen[0].mean().item(), rel=1e-4)
    assert {"dcpo/temperature", "dcpo/alpha", "dcpo/positive_rate"} <= set(logs[0])


def test_without_a_gap_it_trains_as_grpo(bundled_model_dir, tmp_path):
    """Up to the constant added to the spread of a group, 1e-6 here and 1e-4 in TRL."""
    config = {"max_steps": 2, "delta": 3.0}
    grpo = run({**task_of(bundled_model_dir, tmp_path, config, lora=True), "key": "online"})
    off, on = (run(task_of(bundled_model_dir, tmp_path, {**config, "max_gap": gap}, lora=True)) for gap in (0.0, 10.0))
    assert largest_difference(grpo.model, off.model) < 1e-5 < largest_difference(grpo.model, on.model)


def test_stopped_within_a_generation_batch_and_resumed_equals_uninterrupted(bundled_model_dir, tmp_path):
    """At step 3 the entropy of the next batch is half measured."""
    config = {"max_steps": 5, "num_iterations": 2, "save_strategy": "steps", "save_steps": 3, "max_gap": 1.0}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(task_of(bundled_model_dir, whole, config, lora=True))
    cut.mkdir()
    (whole / "checkpoint-3").rename(Path(cut) / "checkpoint-3")
    run(task_of(bundled_model_dir, cut, config, lora=True, resume=True))
    assert_equal_weights(whole, cut)
